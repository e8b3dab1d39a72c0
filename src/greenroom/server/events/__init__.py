"""Events as the app sees them, and long polling for them."""
