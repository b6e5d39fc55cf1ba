"""How the calls of tasks become work: one attempt, and the controllers that make attempts."""
