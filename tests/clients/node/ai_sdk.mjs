// The Vercel AI SDK asks all that it can: node ai_sdk.mjs URL ASKED PROVIDER. ASKED is JSON, as in
// test_node_clients.py; what came of it is printed as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [url, asked, name] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4]];
const at = { baseURL: `${url}/v1`, apiKey: "none" };
const provider = {
  compatible: createOpenAICompatible({ ...at, name: "mlxd", supportsStructuredOutputs: true, includeUsage: true }),
  chat: createOpenAI(at),
  // What the package does unasked.
  responses: createOpenAI(at),
}[name];
const model = (id) => (name === "chat" ? provider.chat(id) : provider(id));
const chat = { model: model(asked.text), prompt: "Hello there", maxOutputTokens: 8, maxRetries: 0 };
const said = {};

const whole = await generateText(chat);
said.whole = [whole.text, whole.finishReason, whole.usage.outputTokens];

const stream = streamText(chat);
let text = "";
for await (const part of stream.textStream) text += part;
said.streamed = [text, (await stream.usage).outputTokens];

const leaving = new AbortController();
const endless = { ...chat, model: model(asked.endless), prompt: asked.endlessPrompt, maxOutputTokens: undefined };
let parts = 0;
let isAborted = false;
for await (const part of streamText({ ...endless, abortSignal: leaving.signal }).fullStream) {
  if (part.type === "text-delta" && ++parts === 3) leaving.abort();
  isAborted ||= part.type === "abort";
}
// Its model has one slot, which is free again.
const next = await generateText({ ...chat, model: model(asked.endless) });
said.aborted = [isAborted, next.finishReason !== "error"];

const image = { type: "image", image: new URL(asked.picture) };
const content = [image, { type: "text", text: "What color is it?" }];
const looking = { ...chat, model: model(asked.vision), prompt: undefined, messages: [{ role: "user", content }] };
said.image = (await generateText(looking)).text;

const inputSchema = z.object({ at: z.string() });
const tools = { look: tool({ description: "Looks.", inputSchema, execute: ({ at }) => `seen ${at}` }) };
const calling = { model: model(asked.calls), prompt: asked.callPrompt, maxRetries: 0, tools, stopWhen: stepCountIs(2) };
const called = await generateText(calling);
said.called = [called.steps[0].toolCalls[0].input, called.text];
const calls = streamText(calling);
await calls.consumeStream();
said.calledStreamed = [(await calls.steps)[0].toolCalls[0].input, await calls.text];

const schema = z.object({ city: z.string().max(12), big: z.boolean() });
const naming = { ...chat, model: model(asked.schema), prompt: "Name a city as JSON.", maxOutputTokens: 60, schema };
said.object = (await generateObject(naming)).object;
const objects = streamObject(naming);
for await (const _ of objects.partialObjectStream);
said.objectStreamed = await objects.object;

const embedding = { model: provider.textEmbeddingModel(asked.embedding), values: ["a cat", "a dog"], maxRetries: 0 };
said.embeddings = (await embedMany(embedding)).embeddings.map((one) => typeof one[0]);

const unknown = await generateText({ ...chat, model: model("no/such") }).catch((error) => error);
said.unknown = [unknown.name, unknown.statusCode, unknown.message.includes("no/such"), unknown.isRetryable];

const failing = streamText({ ...chat, model: model(asked.failing), prompt: asked.failingPrompt, onError() {} });
said.failing = [];
for await (const part of failing.fullStream) if (part.type === "error") said.failing.push(part.error.message ?? part.error);

console.log(JSON.stringify(said));
