"""Public test tools: fake clock, engine contract suite, simulated cluster, fake service, ownership model."""
