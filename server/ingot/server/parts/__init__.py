"""What `App` is put together from: the shelves, rules and doors of each feature, wired to one another."""
