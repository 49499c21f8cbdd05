"""What all kinds of worker that make tokens share: rows in a batch, sampling, text of tokens, prompt cache."""
