// A client of OpenAI: asks for chats one after the other, and prints one line of
// JSON for each with what it has understood.
//
//	node llm.mjs <base URL> <key> <prompt>...
import OpenAI from 'openai';

const [baseURL, apiKey, ...prompts] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
for (const prompt of prompts) {
  const said = { text: '', events: 0 };
  const begun = Date.now();
  try {
    const stream = await client.chat.completions.create({
      model: 'parrot', stream: true, stream_options: { include_usage: true }, max_tokens: 30,
      messages: [{ role: 'user', content: prompt }],
    });
    for await (const chunk of stream) {
      said.events++;
      said.text += chunk.choices[0]?.delta?.content ?? '';
      said.tokens = chunk.usage?.total_tokens ?? said.tokens;
    }
  } catch (e) {
    said.error = { status: e.status, code: e.error?.code ?? e.code, name: e.constructor.name };
  }
  console.log(JSON.stringify(said));
}
