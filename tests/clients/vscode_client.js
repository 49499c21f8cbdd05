// vscode-jsonrpc, the library of VS Code's language clients, with `mlxd stdio`: node vscode_client.js MLXD
"use strict";
const { spawn } = require("child_process");
const rpc = require("vscode-jsonrpc/node");

async function main() {
  const child = spawn(process.argv[2], ["stdio"], { stdio: ["pipe", "pipe", "inherit"] });
  const connection = rpc.createMessageConnection(
    new rpc.StreamMessageReader(child.stdout),
    new rpc.StreamMessageWriter(child.stdin),
  );
  const chunks = [];
  let wake = () => {};
  connection.onNotification("chunk", ({ chunk }) => {
    chunks.push(chunk.choices[0].delta.content ?? "");
    wake();
  });
  connection.listen();

  const messages = (content) => [{ role: "user", content }];
  const models = await connection.sendRequest("models.list");
  const chat = await connection.sendRequest("chat.completions.create", {
    model: "echo/plain", messages: messages("é 🙂 three"), stream: true,
  });
  const streamed = chunks.join("");

  const started = new Promise((resolve) => { chunks.length = 0; wake = resolve; });
  const source = new rpc.CancellationTokenSource();
  const cancelled = connection.sendRequest(
    "chat.completions.create",
    { model: "echo/slow", messages: messages("x ".repeat(20000)), stream: true },
    source.token,
  ).then(() => 0, (error) => error.code);
  await started;
  source.cancel();

  const unknown = await connection.sendRequest("no/such").then(() => 0, (error) => error.code);
  const result = {
    models: models.data.map((model) => model.id),
    whole: chat.choices[0].message.content,
    streamed,
    cancelled: await cancelled,
    unknown,
  };
  connection.end();
  const exit = await new Promise((resolve) => child.on("exit", resolve));
  console.log(JSON.stringify({ ...result, exit }));
}

main().catch((error) => { console.error(error); process.exit(1); });
