-- mlxd in Neovim 0.7 and later: in insert mode Ctrl-X Ctrl-O lists a completion, Ctrl-J puts one at the cursor.
local id
vim.api.nvim_create_autocmd("FileType", {
  pattern = { "python", "lua", "javascript", "rust", "go" },
  callback = function(event)
    local options = { model = "demo/smollm2-135m", maxTokens = 64 }
    id = id or vim.lsp.start_client({ name = "mlxd", cmd = { "mlxd", "stdio", "--lsp" }, init_options = options })
    vim.lsp.buf_attach_client(event.buf, id)
    vim.bo[event.buf].omnifunc = "v:lua.vim.lsp.omnifunc"
  end,
})
vim.keymap.set("i", "<C-j>", function()
  local buffer, encoding = vim.api.nvim_get_current_buf(), vim.lsp.get_client_by_id(id).offset_encoding
  local params = vim.lsp.util.make_position_params(0, encoding)
  params.context = { triggerKind = 1 }
  vim.lsp.buf_request(buffer, "textDocument/inlineCompletion", params, function(_, result)
    local item = result and result.items[1]
    local edit = item and { range = item.range, newText = item.insertText }
    vim.lsp.util.apply_text_edits(edit and { edit } or {}, buffer, encoding)
  end)
end)
