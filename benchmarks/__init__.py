"""The project's own benchmarks: `make bench`, `make bench-quick`, `make soak`."""
