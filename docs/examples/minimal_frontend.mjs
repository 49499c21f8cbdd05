// A whole frontend in one file: asks a running kernel one question and prints the answer as it comes.
//
// Needs the npm packages zeromq and @msgpack/msgpack (`npm install` in this folder), nothing of mlxd.
// docs/protocol.md explains each step. Ctrl-C cancels.
//
//     node minimal_frontend.mjs ~/.local/share/mlxd/run/connection.json MODEL "What is ZeroMQ?"

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer } from "zeromq";

const [connectionFile, model, prompt] = process.argv.slice(2);
const connection = JSON.parse(readFileSync(connectionFile, "utf8"));
const newId = () => randomBytes(16).toString("base64url");
// Milliseconds: linger for the bye at the end, receiveTimeout for the welcome.
const socket = new Dealer({ routingId: newId(), linger: 200, receiveTimeout: 5000 });

// A socket takes one message at a time: each waits for the one before it.
let sending = Promise.resolve();
function send(type, body, envelope = {}) {
  const frames = [encode({ version: 1, type, ...envelope }), encode(body)];
  sending = sending.then(() => socket.send(frames));
  return sending;
}

async function receive() {
  const frames = await socket.receive();
  const [envelope, body] = frames.slice(0, 2).map((frame) => decode(frame));
  // Not let in, or cut off.
  if (envelope.type === "failed" && !envelope.ids?.length) throw new Error(body.message);
  return [envelope, body];
}

async function connect() {
  socket.connect(connection.endpoint);
  const hello = { role: "frontend", kind: "example", name: "example", pid: process.pid };
  send("hello", { ...hello, token: connection.token, mlxd_version: connection.version });
  const [, welcome] = await receive();
  socket.receiveTimeout = welcome.dead_after_s * 1000;
}

// Prints the answer; how it ended.
async function ask() {
  const request = newId();
  let end = "ended without saying how";
  process.on("SIGINT", () => send("cancel", {}, { ids: [request] })); // The end still comes.
  const messages = [{ role: "user", content: prompt }];
  send("submit", { messages, max_tokens: 200 }, { ids: [request], model, task: "chat" });
  for (;;) {
    const [envelope, body] = await receive();
    if (envelope.type === "ping") send("pong", {});
    if (!envelope.ids?.includes(request)) continue;
    if (envelope.type === "progress") console.error(`waiting: ${body.phase}`);
    if (envelope.type === "failed") end = `${body.code}: ${body.message}`;
    for (const item of envelope.type === "events" ? body.items : []) {
      if (item.type === "delta") process.stdout.write(item.text ?? "");
      if (item.type === "done") end = item.finish_reason;
    }
    if (envelope.finished?.includes(request)) return end;
  }
}

try {
  await connect();
  const end = await ask();
  await send("bye", {});
  console.error(end);
  process.exitCode = ["stop", "length", "cancelled"].includes(end) ? 0 : 1;
} catch (error) {
  console.error(error.code === "EAGAIN" ? "the kernel is gone" : error.message);
  process.exitCode = 1;
} finally {
  socket.close();
}
