// Sends one prompt with an official SDK, as its documentation shows, and prints what its
// user gets: node sdk.mjs FOLDER SDK [stream].
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [folder, name, stream] = process.argv.slice(2)
const load = createRequire(join(folder, 'node_modules', 'x.js'))
const { env } = process

const sdks = {
  async anthropic() {
    const Anthropic = load('@anthropic-ai/sdk').default ?? load('@anthropic-ai/sdk')
    const request = { model: 'sim', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] }
    const client = new Anthropic()
    if (!stream) return (await client.messages.create(request)).content[0].text
    return client.messages.stream(request).finalText()
  },
  async openai() {
    const OpenAI = load('openai').default ?? load('openai')
    const request = { model: 'sim', input: 'hi' }
    const client = new OpenAI()
    if (!stream) return (await client.responses.create(request)).output_text
    let text = ''
    for await (const e of await client.responses.create({ ...request, stream: true })) {
      if (e.type === 'response.failed' || e.type === 'error') throw new Error(JSON.stringify(e))
      if (e.type === 'response.output_item.done') text += e.item.content[0].text
    }
    return text
  },
  async chat() {
    const OpenAI = load('openai').default ?? load('openai')
    const request = { model: 'sim', messages: [{ role: 'user', content: 'hi' }] }
    const client = new OpenAI()
    if (!stream) return (await client.chat.completions.create(request)).choices[0].message.content
    let text = ''
    for await (const c of await client.chat.completions.create({ ...request, stream: true })) text += c.choices[0]?.delta?.content ?? ''
    return text
  },
  async google() {
    const { GoogleGenAI } = load('@google/genai')
    const client = new GoogleGenAI({ apiKey: env.GEMINI_API_KEY, httpOptions: { baseUrl: env.GOOGLE_GEMINI_BASE_URL } })
    const request = { model: 'gemini-sim', contents: 'hi' }
    if (!stream) return (await client.models.generateContent(request)).text
    let text = ''
    for await (const c of await client.models.generateContentStream(request)) text += c.text ?? ''
    return text
  },
}

try {
  console.log('answer:', await sdks[name]())
} catch (e) {
  console.log('error:', e.status ?? '', e.message)
  process.exit(1)
}
