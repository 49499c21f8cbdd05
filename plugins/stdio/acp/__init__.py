"""The ACP personality: a model as an agent in Zed, JetBrains, Neovim or Emacs."""
