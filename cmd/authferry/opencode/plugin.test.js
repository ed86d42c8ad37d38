// The plugin in OpenCode's own runtime, with the real authferry:
// BUN_BE_BUN=1 opencode test plugin.test.js, started by the Go tests, which say
// where things are. PLUGIN is the plugin as set up for provider acme; AUTHFERRY the
// program, whose folder is empty; SIM an authorization server; GRANTS logins there,
// by label; SCRATCH a folder.
import { afterAll, beforeEach, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const { PLUGIN, AUTHFERRY, SIM, GRANTS, SCRATCH } = process.env

const hour = { "retry-after": "3600" }

let answers, seen, toasts, count = 0

// authferry runs a command that has to succeed.
function authferry(input, ...args) {
  const { status, stdout, stderr } = spawnSync(AUTHFERRY, args, { input, encoding: "utf8" })
  if (status !== 0) throw new Error(`authferry ${args.join(" ")}: ${stderr}`)
  return stdout
}

// serve is an API that gives the next answer to each request; the default is ok.
function serve() {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { method, url } = request
      const headers = Object.fromEntries(request.headers)
      const who = labelOf[headers.authorization?.replace("Bearer ", "")] ?? ""
      seen.push({ method, path: new URL(url).pathname, headers, who, body: await request.text(), port: Number(new URL(url).port) })
      const answer = answers.shift() ?? new Response("ok")
      return typeof answer === "function" ? answer(request) : answer
    },
  })
}

const api = serve()
const elsewhere = serve()
const API = api.url.origin
const endpoints = ["--authorization-endpoint", `${SIM}/authorize`, "--token-endpoint", `${SIM}/token`, "--client-id", "authferry-sim"]
authferry("", "provider", "add", "acme", ...endpoints, "--api-origin", API, "--header", "authorization: Bearer {token}", "--header", "anthropic-beta: acme-beta")
const labelOf = {} // token -> label
for (const [label, grant] of Object.entries(JSON.parse(GRANTS))) {
  authferry(grant, "import", "grant", "acme", "--label", label)
  labelOf[JSON.parse(grant).access_token] = label
}

// load sets OpenCode's side of the plugin up, and returns its hooks and the fetch
// that it gave provider acme.
async function load(file = PLUGIN, directory = SCRATCH) {
  const { default: plugin } = await import(`${file}?${count++}`)
  const client = { tui: { showToast: async ({ body }) => toasts.push(body) } }
  const hooks = await plugin.server({ client, directory })
  const config = {}
  await hooks.config(config)
  return { plugin, hooks, config, ask: config.provider?.acme?.options.fetch }
}

// copy is the plugin with another program in authferry's place.
function copy(script) {
  const dir = join(SCRATCH, `copy${count++}`)
  mkdirSync(dir)
  const program = join(dir, "authferry")
  if (script !== undefined) {
    writeFileSync(program, script)
    chmodSync(program, 0o700)
  }
  const file = join(dir, "plugin.js")
  writeFileSync(file, readFileSync(PLUGIN, "utf8").replace(/"binary":"[^"]*"/, () => `"binary":${JSON.stringify(program)}`))
  return file
}

const post = (ask, { model = `model-${count++}`, headers = {}, ...more } = {}) =>
  ask(`${API}/v1/messages`, { method: "POST", body: JSON.stringify({ model }), headers: { "content-type": "application/json", ...headers }, ...more })

const limit = (headers = hour) => Response.json({ error: { type: "rate_limit_error", message: "limit" } }, { status: 429, headers })
const events = (...data) => new Response(data.map((d) => `data: ${typeof d === "string" ? d : JSON.stringify(d)}\n\n`).join(""), { headers: { "content-type": "text/event-stream" } })
const who = () => seen.map((request) => request.who)

// OpenCode's own list, in its words: what matches is repeated for a minute.
const repeated = [
  /429|500|502|503|504|524/i,
  /rate increased too quickly|rate limit|rate-limit|rate_limit|too many requests/i,
  /overloaded|service unavailable|service_unavailable|service-unavailable|internal error|internal_error|internal server error|server error|server_error|server-error|provider returned error|provider_returned_error|provider-returned-error/i,
  /terminated|fetch failed|failed to fetch|network[-_\s]error|upstream connect|connection error|connection refused|connection lost|socket connection was closed|socket hang up|reset before headers|getaddrinfo|enotfound|eai_again|econnrefused|econnreset|etimedout/i,
  /^timeout$|\b(?:request|response|connection|network|stream|read) (?:timeout|timed out|time out)\b/i,
  /try your request again|retry your request|resource exhausted|resource_exhausted/i,
  /\btry again (?:later|in\b)|\b(?:currently|temporarily) at capacity\b/i,
  /too_many_requests|exhausted|unavailable/i,
]

// sentence wants a failure that OpenCode shows once, and returns what it says.
async function sentence(response) {
  const text = await response.text()
  expect(response.status).toBe(400)
  for (const pattern of repeated) expect(text).not.toMatch(pattern)
  const { message } = JSON.parse(text).error
  expect(message).toStartWith("authferry: ")
  expect(message).not.toContain("\n")
  return message
}

beforeEach(() => {
  answers = []
  seen = []
  toasts = []
  process.env.AUTHFERRY_LOCK_TIMEOUT = "60s" // the plugin's patience, on a busy machine
  for (const label of ["Personal", "Work"]) authferry("", "holds", "clear", label)
  authferry("", "use", "Personal")
})

afterAll(() => Promise.all([api.stop(true), elsewhere.stop(true)]))

test("the options of a provider hold no secret", async () => {
  const { config, plugin, hooks } = await load()
  expect(plugin.id).toBe("authferry")
  expect(JSON.stringify(config)).toBe('{"provider":{"acme":{"options":{"apiKey":"authferry"}}}}')
  expect(hooks.auth.provider).toBe("acme")
})

test("a provider without accounts is left alone, and so is what else the user set", async () => {
  const { default: plugin } = await import(PLUGIN)
  const config = { provider: { acme: { name: "Mine", options: { baseURL: API, timeout: 5 } }, openai: { options: { apiKey: "own" } } } }
  await (await plugin.server({ client: {}, directory: SCRATCH })).config(config)
  expect(config.provider.openai).toEqual({ options: { apiKey: "own" } })
  expect(config.provider.acme).toMatchObject({ name: "Mine", options: { baseURL: API, timeout: 5, apiKey: "authferry" } })
  // what authferry run serves is not the plugin's
  process.env.AUTHFERRY_PROXY_URL_ACME = "http://127.0.0.1:1/acme"
  for (const [baseURL, apiKey] of [["http://127.0.0.1:1/acme/v1", "key"], ["http://127.0.0.1:12/acme/v1", "authferry"]]) {
    const under = { provider: { acme: { options: { baseURL, apiKey: "key" } } } }
    await (await plugin.server({ client: {}, directory: SCRATCH })).config(under)
    expect(under.provider.acme.options.apiKey).toBe(apiKey)
  }
  delete process.env.AUTHFERRY_PROXY_URL_ACME
})

test("foreign credentials are dropped, other headers stay", async () => {
  const { ask } = await load()
  const headers = { Authorization: "Bearer mine", "X-Api-Key": "k", "x-goog-api-key": "k", "api-key": "k", "anthropic-beta": "one, two", "user-agent": "sdk" }
  await post(ask, { headers })
  expect(seen[0].headers).toMatchObject({ "anthropic-beta": "acme-beta,one,two", "user-agent": "sdk", "content-type": "application/json" })
  for (const name of ["x-api-key", "x-goog-api-key", "api-key"]) expect(seen[0].headers[name]).toBeUndefined()
  expect(who()).toEqual(["Personal"])
})

test("a project's headers don't say where a request goes", async () => {
  const { ask } = await load()
  const steering = {
    Host: "evil.example.com", "X-Forwarded-Host": "evil.example.com", x_forwarded_host: "evil.example.com", Forwarded: "host=evil.example.com", Via: "1.1 evil",
    "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "True-Client-IP": "127.0.0.1", "X-Original-URL": "/admin", "X-Rewrite-URL": "/admin", "X-Original-Host": "evil",
    "X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE", "Proxy-Authorization": "x", "Proxy-Connection": "close", "X-Upstream": "evil", "Helicone-Target-URL": "https://evil",
    "X-Backend-Server": "evil", "X-Portkey-Custom-Host": "evil", Upgrade: "h2c", "HTTP2-Settings": "x", TE: "trailers", "Transfer-Encoding": "chunked", Expect: "100-continue",
    "Max-Forwards": "0", "Keep-Alive": "timeout=1", Origin: "https://evil", Cookie: "a=b", Destination: "https://evil", "X-Envoy-Original-Path": "/admin", "Alt-Used": "evil",
    "Helicone-OpenAI-Api-Base": "https://evil", "X-OpenAI-BaseURL": "https://evil", "X-Portkey-Provider": "evil", "X-Portkey-Config": "{}", "X-ForwardedHost": "evil", "X-VHost": "evil",
    "X-Domain": "evil", "L5d-Dst-Override": "evil", "X-Redirect": "https://evil", Location: "https://evil", "X-Service": "evil", "X-SNI": "evil",
  }
  const plain = { "x-title": "t", "http-referer": "https://app", "x-stainless-retry-count": "0", "x-session-affinity": "s", "openai-organization": "o", "x-goog-user-project": "p", "x-shipping": "1", "x-server-timeout": "600" }
  for (const [header, value] of Object.entries(steering)) await post(ask, { headers: { ...plain, [header]: value } })
  expect(seen.length).toBe(Object.keys(steering).length)
  for (const [i, [header, value]] of Object.entries(steering).entries()) {
    expect([header, seen[i].headers[header.toLowerCase()]]).not.toEqual([header, value])
    expect(seen[i]).toMatchObject({ method: "POST", who: "Personal", headers: { ...plain, host: new URL(API).host } })
  }
  await post(ask, { headers: { Connection: "close, authorization", "Content-Length": "1" } })
  expect(seen.at(-1)).toMatchObject({ who: "Personal", body: expect.stringContaining("model") })
  expect(seen.at(-1).headers.connection ?? "").not.toContain("authorization")
  await post(ask, { headers: { "anthropic-beta": "mine" }, proxy: elsewhere.url.origin, unix: "/nowhere" })
  expect(seen.at(-1).headers.host).toBe(new URL(API).host)
})

test("every form of a request arrives whole", async () => {
  const { ask } = await load()
  const url = `${API}/v1/x`
  await ask(new URL(url), { method: "POST", body: new TextEncoder().encode("bytes") })
  await ask(new Request(url, { method: "PUT", body: "request", headers: { "x-own": "1" } }))
  await ask(url, { method: "POST", body: new Blob(["a ", "blob"]).stream() })
  await ask(url)
  expect(seen.map(({ method, body }) => [method, body])).toEqual([["POST", "bytes"], ["PUT", "request"], ["POST", "a blob"], ["GET", ""]])
  expect(seen[1].headers["x-own"]).toBe("1")
})

test("a limit switches, once for each account, and a toast says so", async () => {
  const { ask } = await load()
  answers = [limit()]
  expect(await (await post(ask)).text()).toBe("ok")
  expect(who()).toEqual(["Personal", "Work"])
  expect(seen[0].body).toBe(seen[1].body)
  expect(toasts).toHaveLength(1)
  expect(toasts[0]).toMatchObject({ variant: "warning", title: "authferry" })
  expect(toasts[0].message).toMatch(/^Personal: limit until (.* )?\d\d:\d\d\. Going on with Work$/)
})

test("a limit of one model leaves the account to the others", async () => {
  const { ask } = await load()
  const headers = { "anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-7d_opus-status": "rejected" }
  headers["anthropic-ratelimit-unified-7d_opus-reset"] = String(Math.round(Date.now() / 1000) + 7200)
  answers = [limit(headers)]
  await post(ask, { model: "opus" })
  await post(ask, { model: "opus" })
  await post(ask, { model: "sonnet" })
  await ask(`${API}/v1beta/models/opus:streamGenerateContent`, { method: "POST", body: "{}" })
  expect(who()).toEqual(["Personal", "Work", "Work", "Personal", "Work"])
  const { holds } = JSON.parse(authferry("", "holds", "--json"))
  expect(holds.map(({ scope }) => scope)).toEqual(["model:opus"])
})

test("a throttle is waited for on the same account", async () => {
  const { ask } = await load()
  answers = [limit({ "retry-after": "1" })]
  expect((await post(ask)).status).toBe(200)
  expect(who()).toEqual(["Personal", "Personal"])
  expect(toasts).toEqual([])
})

test("the next account's throttles count anew", async () => {
  const { ask } = await load()
  answers = [limit(), limit({ "retry-after": "1" }), limit({ "retry-after": "1" })]
  expect((await post(ask)).status).toBe(200)
  expect(who()).toEqual(["Personal", "Work", "Work", "Work"])
})

test("a hold of days names the day", async () => {
  const { ask } = await load()
  const days = { "anthropic-ratelimit-unified-status": "rejected", "anthropic-ratelimit-unified-7d-status": "rejected" }
  const reset = new Date(Date.now() + 72 * 3600_000)
  days["anthropic-ratelimit-unified-7d-reset"] = String(Math.round(+reset / 1000))
  answers = [limit(days), limit(days)]
  const [day, month, date] = reset.toDateString().split(" ")
  expect(await sentence(await post(ask))).toMatch(new RegExp(` before ${day} ${Number(date)} ${month} ([0-9]{4} )?\\d\\d:\\d\\d;`))
})

test("an overload is tried again a bounded number of times, and then shown as it is", async () => {
  const { ask } = await load()
  answers = Array.from({ length: 99 }, () => new Response("busy", { status: 529 }))
  const response = await post(ask)
  expect([response.status, await response.text()]).toEqual([529, "busy"])
  expect(seen.length).toBeLessThan(6)
  expect(new Set(who())).toEqual(new Set(["Personal"]))
})

test("what no other account would cure is passed on unchanged", async () => {
  const { ask } = await load()
  const body = JSON.stringify({ error: { message: "x".repeat(200_000) } })
  answers = [new Response(body, { status: 400, headers: { "content-type": "application/json", "request-id": "r1" } })]
  const response = await post(ask)
  expect([response.status, response.headers.get("request-id")]).toEqual([400, "r1"])
  expect(await response.text()).toBe(body)
  expect(seen).toHaveLength(1)
})

test("no account free for long: one sentence with the local time", async () => {
  const { ask } = await load()
  answers = [limit(), limit({ "retry-after": "7200" })]
  const said = await sentence(await post(ask))
  const free = new Date(Date.now() + 3600_000)
  expect(said).toContain("no acme account is free before ")
  expect(said).toMatch(new RegExp(`${String(free.getHours()).padStart(2, "0")}:\\d\\d|${String(new Date(+free + 60_000).getHours()).padStart(2, "0")}:\\d\\d`))
  expect(who()).toEqual(["Personal", "Work"])
  await sentence(await post(ask)) // and now without asking the API
  expect(seen).toHaveLength(2)
})

test("keys that the API refuses are no limit: what is said", async () => {
  for (const label of ["Key", "Other"]) {
    labelOf[`canary-of-${label}`] = label
    authferry(`canary-of-${label}`, "login", "acme", "--api-key-stdin", "--label", label, "--pool", "keys")
  }
  process.env.AUTHFERRY_POOL = "keys"
  try {
    const { ask } = await load()
    const refusal = () => Response.json({ error: { type: "authentication_error", message: "invalid" } }, { status: 401 })
    answers = [refusal(), refusal()]
    const said = await sentence(await post(ask))
    expect(said).toContain("the API refuses the acme token; next try ")
    expect(said).toEndWith("authferry login acme --api-key-stdin --renew Key")
    expect(toasts.map(({ variant, message }) => [variant, message])).toEqual([["error", "Key: refused by the API. Going on with Other"]])
    expect(await sentence(await post(ask))).toBe(said) // and now without asking the API
    expect(who()).toEqual(["Key", "Other"])
  } finally {
    delete process.env.AUTHFERRY_POOL
  }
})

test("free again within half a minute: OpenCode waits by itself", async () => {
  const { ask } = await load()
  answers = [limit({ "retry-after": "20" }), limit()]
  const response = await post(ask)
  expect(response.status).toBe(429)
  expect(Number(response.headers.get("retry-after"))).toBeWithin(1, 31)
})

const opening = [{ type: "message_start", message: {} }, { type: "ping" }, { type: "content_block_start", content_block: {} }]
const overLimit = { type: "error", error: { type: "rate_limit_error", message: "limit" } }
const delta = { type: "content_block_delta", delta: { text: "hi" } }

for (const [name, start, error] of [
  ["Anthropic", opening, overLimit],
  ["OpenAI's responses", [{ type: "response.created" }, { type: "response.in_progress" }], { type: "response.failed", response: { error: { code: "rate_limit_exceeded" } } }],
  ["OpenAI's error event", [{ type: "response.created" }], { type: "error", code: "rate_limit_exceeded" }],
  ["chat completions", [{ choices: [{ delta: { role: "assistant", content: "" } }] }], { error: { code: "rate_limit_exceeded" } }],
  ["Google", [], { error: { code: 429, status: "RESOURCE_EXHAUSTED" } }],
]) {
  test(`a limit inside a stream of ${name} switches`, async () => {
    const { ask } = await load()
    answers = [events(...start, error), events(...start, "[DONE]")]
    expect(await (await post(ask)).text()).toBe(await events(...start, "[DONE]").text())
    expect(who()).toEqual(["Personal", "Work"])
  })
}

test("an error that a stream breaks off after switches", async () => {
  const { ask } = await load()
  answers = [new Response(`data: ${JSON.stringify(overLimit)}`, { headers: { "content-type": "text/event-stream" } }), events(...opening, "[DONE]")]
  await (await post(ask)).text()
  expect(who()).toEqual(["Personal", "Work"])
})

test("what a person has seen is never asked for again", async () => {
  const { ask } = await load()
  answers = [events(...opening, delta, overLimit)]
  expect(await (await post(ask)).text()).toBe(await events(...opening, delta, overLimit).text())
  expect(seen).toHaveLength(1)
})

test("a stream arrives byte for byte, and as it comes", async () => {
  const { ask } = await load()
  const bytes = new TextEncoder().encode(`: hello\r\n\r\ndata: ${JSON.stringify(opening[0])}\n\nevent: x\ndata: ${JSON.stringify({ type: "content_block_delta", delta: { text: "ü😀" } })}\n\n`)
  const { promise, resolve } = Promise.withResolvers()
  const stream = new ReadableStream({
    async start(to) {
      for (const byte of bytes) {
        to.enqueue(Uint8Array.of(byte))
        if (byte === 10) await Bun.sleep(1)
      }
      await promise // the end comes only after the reader has had the start
      to.close()
    },
  })
  answers = [new Response(stream, { headers: { "content-type": "text/event-stream" } })]
  const reader = (await post(ask)).body.getReader()
  const got = []
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    got.push(...part.value)
    if (got.length === bytes.length) resolve()
  }
  expect(got).toEqual([...bytes])
})

test("a token goes to no other origin, not even by a redirect", async () => {
  const { ask } = await load()
  const other = elsewhere.url.origin
  expect(await sentence(await ask(`${other}/v1/messages`, { method: "POST", body: "{}" }))).toContain("nothing was sent")
  expect(seen).toEqual([])
  for (const status of [301, 302, 303, 307, 308]) {
    answers = [new Response(null, { status, headers: { location: `${other}/v1` } })]
    expect(await sentence(await post(ask))).toContain("it was not sent there")
  }
  expect(seen.filter(({ port }) => port === elsewhere.port)).toEqual([])
})

test("a redirect within the origin is followed as fetch would", async () => {
  const { ask } = await load()
  for (const [status, method] of [[301, "GET"], [302, "GET"], [303, "GET"], [307, "POST"], [308, "POST"]]) {
    seen = []
    answers = [new Response(null, { status, headers: { location: "/moved" } })]
    expect(await (await post(ask)).text()).toBe("ok")
    expect(seen.map((request) => [request.method, request.path, request.who])).toEqual([["POST", "/v1/messages", "Personal"], [method, "/moved", "Personal"]])
    expect(seen[1].body === seen[0].body).toBe(method === "POST")
  }
  answers = Array.from({ length: 99 }, () => new Response(null, { status: 307, headers: { location: "/round" } }))
  seen = []
  await sentence(await post(ask))
  expect(seen.length).toBeLessThan(10)
})

test("an abort is the caller's, wherever it comes", async () => {
  const { ask } = await load()
  await expect(post(ask, { signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop")
  expect(seen).toEqual([])
  const controller = new AbortController()
  answers = [() => (controller.abort(new Error("enough")), new Promise(() => {}))]
  await expect(post(ask, { signal: controller.signal })).rejects.toThrow()
  const waiting = new AbortController()
  answers = [() => (setTimeout(() => waiting.abort(new Error("no patience")), 300), limit({ "retry-after": "9" }))]
  await expect(post(ask, { signal: waiting.signal })).rejects.toThrow("no patience")
  expect(seen).toHaveLength(2)
})

for (const [name, script, want] of [
  ["missing", undefined, "it can't be started"],
  ["not a program", "\x7fELF nonsense", "authferry: "],
  ["hanging", "#!/bin/sh\nsleep 60\n", "no answer for 5 seconds"],
  ["printing rubbish", "#!/bin/sh\necho '<html>afat_secret'\n", "can't be read"],
  ["printing another document", "#!/bin/sh\necho '{\"pools\":[]}'\n", undefined],
  ["printing half a token", `#!/bin/sh\n[ "$1" = status ] && echo '{"pools":[{"provider":"acme","accounts":[{}]}]}' || echo '{"lease":"x","headers":{}}'\n`, "can't be read"],
  ["killed", "#!/bin/sh\nkill -9 $$\n", "can't be read"],
  ...["keystore_locked", "keystore_timeout", "login_needed", "no_account", "ambiguous", "fenced", "lock_timeout", "provider_unreachable", "provider_refused", "index_corrupt", "too_many_requests 503"].map((code) => [
    `failing with ${code}`,
    `#!/bin/sh\necho '${JSON.stringify({ error: { code, message: "fetch failed: 503 Personal", hint: "authferry login acme --renew Personal" } })}'; exit 4\n`,
    "authferry",
  ]),
]) {
  test(`authferry ${name}: one sentence`, async () => {
    if (name === "hanging") delete process.env.AUTHFERRY_LOCK_TIMEOUT
    const { ask } = await load(copy(script))
    if (want === undefined) return expect(ask).toBeUndefined()
    const said = await sentence(await post(ask))
    expect(said).toContain(want)
    expect(said).not.toContain("afat_")
    expect(said).not.toContain("Personal")
    expect(seen).toEqual([])
    expect(toasts.map(({ message }) => message)).toEqual(name.includes("login_needed") ? ["acme needs a login: authferry login acme --renew Personal"] : [])
  })
}

test("the keychain's answer comes before patience ends", async () => {
  delete process.env.AUTHFERRY_LOCK_TIMEOUT
  const program = copy(`#!/bin/sh\necho "{\\"error\\":{\\"code\\":\\"x$AUTHFERRY_KEYCHAIN_TIMEOUT$AUTHFERRY_LOCK_TIMEOUT\\"}}"; exit 6\n`)
  expect(await sentence(await post((await load(program)).ask))).toContain("(x4s4s)")
})

test("a folder's binding decides in that folder", async () => {
  const bound = join(SCRATCH, `bound${count++}`)
  mkdirSync(bound)
  authferry("", "use", "Work", "--dir", bound)
  await post((await load(PLUGIN, bound)).ask)
  await post((await load()).ask)
  expect(who()).toEqual(["Work", "Personal"])
})

test("successes tell of the quota, at most once a minute for an account", async () => {
  const { ask, hooks } = await load()
  const headers = { "anthropic-ratelimit-unified-5h-status": "allowed", "anthropic-ratelimit-unified-5h-utilization": "0.42", "set-cookie": "afat_no" }
  headers["anthropic-ratelimit-unified-5h-reset"] = String(Math.round(Date.now() / 1000) + 3600)
  answers = [new Response("ok", { headers }), new Response("ok", { headers: { ...headers, "anthropic-ratelimit-unified-5h-utilization": "0.99" } })]
  await post(ask)
  await post(ask)
  await hooks.dispose()
  const table = await hooks.tool.auth_status.execute({}, {})
  expect(table).toContain("5h 42% until ")
  expect(table).toContain("| Personal | yes | valid |")
  expect(table).toContain("| Work |  |")
  expect(table).toContain("failover: on")
  expect(table).not.toContain("afat_")
})

test("auth login hands over, and stores no secret", async () => {
  const { hooks } = await load()
  const method = hooks.auth.methods.find(({ label }) => label === "authferry")
  const { method: how, instructions, callback } = await method.authorize({})
  expect([how, await callback()]).toEqual(["auto", { type: "success", key: "authferry" }])
  expect(instructions).toContain("authferry status")
  const without = (await load(copy("#!/bin/sh\necho '{\"pools\":[]}'\n"))).hooks.auth.methods[0]
  expect((await without.authorize({})).instructions).toContain("authferry login acme")
  expect(await (await without.authorize({})).callback()).toEqual({ type: "failed" })
})

test("what it costs", async () => {
  const { ask } = await load()
  const times = { plugin: [], fetch: [] }
  for (let i = 0; i < 40; i++)
    for (const [name, call] of [["plugin", ask], ["fetch", fetch]]) {
      const began = performance.now()
      await (await post(call)).text()
      times[name].push(performance.now() - began)
    }
  const at = (name, share) => times[name].sort((a, b) => a - b)[Math.floor(times[name].length * share)].toFixed(1)
  console.log(`cost: a request takes p50 ${at("plugin", 0.5)} ms, p95 ${at("plugin", 0.95)} ms; without the plugin ${at("fetch", 0.5)} and ${at("fetch", 0.95)} ms`)
  expect(seen).toHaveLength(80)
})
