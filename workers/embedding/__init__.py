"""Worker kind embedding: vectors of texts, and scores of a cross-encoder."""
