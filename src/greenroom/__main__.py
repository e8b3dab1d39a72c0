"""``python -m greenroom`` is the program ``greenroom``."""

from greenroom.cli import main

if __name__ == "__main__":
    main()
