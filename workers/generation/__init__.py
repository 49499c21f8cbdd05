"""What all kinds of worker that make tokens share: rows in a batch, sampling, detokenizer, prompt cache."""
