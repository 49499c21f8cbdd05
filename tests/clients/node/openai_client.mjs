// The openai package asks all that it can: node openai_client.mjs URL ASKED. ASKED is JSON, as in
// test_node_clients.py; what came of it is printed as JSON.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, asked] = [process.argv[2], JSON.parse(process.argv[3])];
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const { completions } = client.chat;
const user = (content) => [{ role: "user", content }];
const chat = { model: asked.text, messages: user("Hello there"), max_tokens: 8 };
const said = {};

said.models = (await client.models.list()).data.map((model) => model.id).includes(asked.text);

const whole = await completions.create(chat);
said.whole = [whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.completion_tokens];

let text = "";
let usage;
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await completions.create({ ...chat, ...options })) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage;
}
said.streamed = [text, usage.completion_tokens];

const endless = { model: asked.endless, messages: user(asked.endlessPrompt) };
const stream = await completions.create({ ...endless, stream: true });
let chunks = 0;
for await (const _ of stream) if (++chunks === 3) stream.controller.abort();
// Its model has one slot, which is free again.
const next = await completions.create({ ...chat, model: asked.endless });
said.aborted = [chunks, next.choices.length];

const image = { type: "image_url", image_url: { url: asked.picture } };
const question = { type: "text", text: "What color is it?" };
const seen = await completions.create({ ...chat, model: asked.vision, messages: user([image, question]) });
said.image = seen.choices[0].message.content;

const look = { name: "look", parameters: { type: "object" } };
const calling = { model: asked.calls, messages: user(asked.callPrompt) };
const called = await completions.create({ ...calling, tools: [{ type: "function", function: look }] });
const [call] = called.choices[0].message.tool_calls;
said.called = [call.function.name, call.function.arguments, called.choices[0].message.reasoning_content];
const run = { type: "function", function: { ...look, function: (given) => `seen ${given}` } };
said.ran = await completions.runTools({ ...calling, tools: [run], stream: true }).finalContent();

const City = z.object({ city: z.string().max(12), big: z.boolean() });
const parsed = await completions.parse({
  model: asked.schema,
  messages: user("Name a city as JSON."),
  max_tokens: 60,
  response_format: zodResponseFormat(City, "city"),
});
said.parsed = parsed.choices[0].message.parsed;

const vectors = await client.embeddings.create({ model: asked.embedding, input: ["a cat", "a dog"] });
said.embeddings = vectors.data.map(({ embedding }) => typeof embedding[0]);

const fails = async (fields) => {
  const error = await completions.create({ ...chat, ...fields }).catch((error) => error);
  return [error.constructor.name, error.code, error.param];
};
said.errors = [await fails({ model: "no/such" }), await fails({ temperature: 9 })];

console.log(JSON.stringify(said));
