"""Who gets what and who lives: the broker. Knows no model, no HTTP and no image."""
