-- Edits a Python file with the configuration of docs/examples/neovim.lua and writes what it saw into $RESULT.
local seen = { progress = {} }
local at = vim.api.nvim_buf_line_count(0)

local function wait(what, is_so)
  if not vim.wait(tonumber(vim.env.TIMEOUT_MS), is_so, 20) then
    seen.error = "waited in vain: " .. what
    vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.RESULT)
    vim.cmd("cquit")
  end
end

vim.lsp.handlers["$/progress"] = function(_, result)
  table.insert(seen.progress, result.value.kind)
end
vim.lsp.handlers["window/showMessage"] = function(_, result)
  seen.shown = result.message
end
local function client()
  return vim.lsp.buf_get_clients(0)[1]
end
wait("initialize", function() return client() and client().initialized end)
seen.completes = client().server_capabilities.completionProvider ~= nil

-- The completion list, as Ctrl-X Ctrl-O has it.
vim.api.nvim_win_set_cursor(0, { at, #vim.api.nvim_get_current_line() })
vim.cmd("startinsert!")
local params = vim.lsp.util.make_position_params(0, "utf-16")
vim.lsp.buf_request(0, "textDocument/completion", params, function(err, result)
  seen.completion = result or err
end)
wait("completion", function() return seen.completion end)

-- The text at the cursor, by its key.
local before = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
local keys = vim.api.nvim_replace_termcodes("A<C-j><Esc>", true, false, true)
vim.api.nvim_feedkeys(keys, "x", false)
wait("inline completion", function()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n") ~= before
end)
vim.cmd("write")
vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.RESULT)
vim.cmd("qall!")
