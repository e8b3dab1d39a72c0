"""Live connections of this node, and what they ask of the engine."""
