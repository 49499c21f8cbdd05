"""The LSP personality: an editor's language server that offers what a model would write at the cursor."""
