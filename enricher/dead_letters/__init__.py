"""The dead-letter queue as its readers see it: what a letter is, where they lie, replaying them."""
