// authferry for OpenCode. `authferry setup opencode` wrote this file and replaces it as a whole; --undo removes it.
const SETTINGS = {"binary":"authferry","providers":{}}

// Every model request asks authferry for a token and shows it authferry's answer
// when the API refuses: which account is next is authferry's decision. No token
// outlives its request here, and none is ever in OpenCode's options.

import { execFile } from "node:child_process"

const PLACEHOLDER = "authferry" // stands where OpenCode wants to see a key
const SHORT = 30_000 // ms: OpenCode itself waits for an account that is free so soon
const MAX_TRIES = 24 // of one request, over all accounts
const MAX_WAIT = 10_000 // ms of pauses in one request
const MAX_REDIRECTS = 5
const REPORTED_BODY = 64 << 10 // characters of a refusal that authferry reads
const WATCHED_BODY = 256 << 10 // characters of a stream that are held back at most
const WATCHED_TIME = 60_000 // ms, likewise
const USAGE_EVERY = 60_000 // ms between two reports of one account's successes
const FOREIGN = ["authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "cookie2"]

// What a project sets for its requests must not say where they go, or how a proxy on
// the way is to read them: by these names (RFC 9110 and others), and by any of these
// words, as proxies and gateways have them (X-Forwarded-Host, X-Original-URL, Via,
// Helicone-OpenAI-Api-Base, X-Portkey-Provider). The last ones count within a word too.
const FRAMING = ["connection", "content-length", "expect", "http2-settings", "keep-alive", "max-forwards", "te", "trailer", "transfer-encoding", "upgrade"]
const ROUTING = new RegExp(
  `(^|[^a-z])(addr|address|alt|authority|base|cluster|config|dest|dst|domain|endpoint|gateway|ip|location|method|origin|original|path|port|proto|protocol|provider|proxied|route|router|routing|scheme|server|service|sni|subdomain|svc|target|uri|via)([^a-z]|$)` +
    `|backend|baseurl|destination|forward|host|override|proxy|redirect|rewrite|upstream|url`,
)
const steers = (header) => FRAMING.includes(header) || (ROUTING.test(header) && header !== "x-server-timeout") // Google's SDK sets that one

// How long authferry waits for the keychain, for another process and for the
// provider, unless the user says otherwise. It then says itself what it waited
// for; a refresh that takes longer goes on without its caller.
const env = { AUTHFERRY_KEYCHAIN_TIMEOUT: "4s", AUTHFERRY_LOCK_TIMEOUT: "4s", AUTHFERRY_HTTP_TIMEOUT: "4s", ...process.env }
const milliseconds = (text) =>
  [...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce((sum, [, n, unit]) => sum + n * { ms: 1, s: 1e3, m: 60e3, h: 3600e3 }[unit], 0)
const longest = Math.max(...["KEYCHAIN", "LOCK", "HTTP"].map((what) => milliseconds(env[`AUTHFERRY_${what}_TIMEOUT`])))
const PATIENCE = longest + 1_000 // ms that authferry has for one answer
const START = PATIENCE * 0.4 // ms, likewise, while OpenCode starts

// OpenCode repeats a request for a minute when the text of its failure matches
// one of these, whatever the status is. What is said here never does.
const REPEATED =
  /429|50[0234]|524|rate increased|rate[ _-]limit|too[ _]many[ _]requests|overloaded|service[ _-]unavailable|internal[ _]error|(internal )?server[ _-]error|provider[ _-]returned[ _-]error|terminated|fetch failed|failed to fetch|network[-_\s]error|upstream connect|connection (error|refused|lost)|socket (connection was closed|hang up)|reset before headers|getaddrinfo|enotfound|eai_again|econn(refused|reset)|etimedout|time[ -]?(d )?out|try your request again|retry your request|exhausted|unavailable|try again (later|in\b)|at capacity/gi

// clock is a moment as authferry shows one: in local time, with the day where that isn't
// today, and the year where it isn't this one.
function clock(at) {
  const two = (n) => String(n).padStart(2, "0")
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`
  const [day, month, date, year] = at.toDateString().split(" ")
  const today = new Date()
  if (at.toDateString() === today.toDateString()) return time
  return `${day} ${Number(date)} ${month} ${at.getFullYear() === today.getFullYear() ? "" : `${year} `}${time}`
}

// moment reads what authferry says of a time; undefined where it says nothing.
function moment(text) {
  const at = new Date(text ?? NaN)
  return Number.isNaN(at.getTime()) ? undefined : at
}

// Trouble is what a person is told instead of an answer, in one sentence.
class Trouble extends Error {
  constructor(sentence, { code, until, hint } = {}) {
    super(`authferry: ${sentence}`.replace(REPEATED, "…"))
    Object.assign(this, { code, until, hint })
  }

  // response is what the trouble looks like to OpenCode: a wait that is short,
  // or a failure that repeating wouldn't mend.
  response() {
    const wait = this.until ? Math.max(1, Math.ceil((this.until - Date.now()) / 1000)) : Infinity
    const short = wait * 1000 <= SHORT
    const error = { type: "authferry", code: "authferry", status: "FAILED_PRECONDITION", message: this.message }
    return new Response(JSON.stringify({ type: "error", error }), {
      status: short ? 429 : 400,
      headers: { "content-type": "application/json", ...(short && { "retry-after": String(wait) }) },
    })
  }
}

// sentences are the troubles that authferry names by a code.
const sentences = {
  all_held: (p, until, { refused, hint }) =>
    refused
      ? `the API refuses the ${p} token${until ? `; next try ${clock(until)}` : ""}; if it is wrong, replace it in a terminal: ${hint?.split("\n")[0] ?? `authferry login ${p}`}`
      : `no ${p} account is free${until ? ` before ${clock(until)}` : ""}; wait until then, or add one in a terminal: authferry login ${p}`,
  login_needed: (p) => `${p} needs a login; run this in a terminal, then send the message again: authferry login ${p}`,
  no_account: (p) => `there is no ${p} account to use here; run this in a terminal: authferry login ${p} (which there are: authferry list)`,
  ambiguous: (p) => `there are several pools of ${p} accounts; choose the one for this folder in a terminal: authferry use --pool POOL --dir .`,
  fenced: (p) => `the accounts chosen for this folder or this terminal don't serve ${p}; look in a terminal: authferry status`,
  keystore: () => "the keychain can't be opened; unlock it, then send the message again (what is wrong: authferry doctor)",
  lock_timeout: (p) => `another process has been refreshing the ${p} login for a while; send the message again, and if this stays: authferry doctor`,
  provider_unreachable: (p) => `${p} can't be reached for a new token; the login is kept, send the message again once the network works`,
  provider_refused: (p, until) =>
    `${p} gives no new token now${until ? `, and not before ${clock(until)}` : ""}; the login is kept, send the message again later`,
}
sentences.login_failed = sentences.login_needed

function troubleOf(error, provider) {
  const code = String(error.code)
  const until = moment(error.retry_at)
  const say = sentences[code.startsWith("keystore") ? "keystore" : code]
  const sentence = say ? say(provider, until, error) : `no token could be had (${code.slice(0, 40)}); look in a terminal: authferry doctor`
  return new Trouble(sentence, { code, until, hint: error.hint })
}

// authferry runs it once and returns its JSON document. It throws a Trouble, or the
// reason of the signal.
function authferry(args, { cwd, input = "", signal, provider = "", patience = PATIENCE } = {}) {
  const { promise, resolve, reject } = Promise.withResolvers()
  if (signal?.aborted) return Promise.reject(signal.reason)
  const missing = () => new Trouble(`it can't be started (${SETTINGS.binary}); if it moved, run there in a terminal: authferry setup opencode`)
  let child
  const stop = (reason) => {
    reject(reason)
    child.kill("SIGKILL")
    child.stdout?.destroy() // whoever else holds it open isn't waited for
    child.stderr?.destroy()
  }
  const aborted = () => stop(signal.reason)
  const timer = setTimeout(() => stop(new Trouble(`it gave no answer for ${patience / 1000} seconds; send the message again, and if this stays: authferry doctor`)), patience)
  signal?.addEventListener("abort", aborted, { once: true })
  const settled = (error, stdout) => {
    if (error && /^E(?!RR_)/.test(error.code)) return reject(missing())
    let document
    try {
      document = JSON.parse(stdout)
    } catch {}
    if (document?.error?.code) return reject(troubleOf(document.error, provider))
    if (error || typeof document !== "object" || document === null)
      return reject(new Trouble(`its answer can't be read (${SETTINGS.binary}); look in a terminal: authferry doctor`))
    resolve(document)
  }
  try {
    child = execFile(SETTINGS.binary, args, { cwd, env, windowsHide: true, maxBuffer: 4 << 20 }, settled)
    child.stdin?.on("error", () => {}) // it may have ended before it read all
    child.stdin?.end(input)
  } catch {
    reject(missing())
  }
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", aborted)
  })
}

const selecting = ({ provider, pool, account }) => [
  provider,
  ...(pool ? ["--pool", pool] : []),
  ...(account ? ["--account", account] : []),
  "--json",
  "--no-input",
]

// leased checks that a token document is one.
function leased(document) {
  const { lease, headers, origins, account } = document ?? {}
  if (typeof lease === "string" && account?.id && headers && Array.isArray(origins)) return document
  throw new Trouble(`its answer can't be read (${SETTINGS.binary}); look in a terminal: authferry doctor`)
}

// modelOf is the model that a request names in its body or, as Google's do, in
// its path.
function modelOf(url, body) {
  let model = /\/models\/([^/:?]+)/.exec(new URL(url).pathname)?.[1]
  try {
    model = JSON.parse(new TextDecoder().decode(body)).model ?? model
  } catch {}
  return typeof model === "string" && /^[\x21-\x7e]{1,100}$/.test(model) ? model : undefined
}

// peek reads a body until enough has come, and returns that text and the response
// with its whole body, byte for byte.
async function peek(response, enough, patience) {
  if (!response.body) return ["", response]
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  const chunks = []
  let text = ""
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, patience, "late")))
  let pending
  try {
    while (!enough(text)) {
      pending ??= reader.read()
      const got = await Promise.race([pending, late])
      if (got === "late") break
      pending = undefined
      if (got.done) {
        text += "\n\n" // an event ends where its stream does
        break
      }
      chunks.push(got.value)
      text += decoder.decode(got.value, { stream: true })
    }
  } finally {
    clearTimeout(timer)
  }
  const body = new ReadableStream({
    async pull(to) {
      if (chunks.length > 0) return to.enqueue(chunks.shift())
      const got = await (pending ?? reader.read())
      pending = undefined
      if (got.done) to.close()
      else to.enqueue(got.value)
    },
    cancel: (reason) => reader.cancel(reason),
  })
  const { status, statusText, headers } = response
  return [text, new Response(body, { status, statusText, headers })]
}

// Events that come before anything that is shown to a person.
const prelude = new Set(["message_start", "ping", "content_block_start", "keepalive"])
for (const event of ["created", "in_progress", "queued", "output_item.added", "content_part.added"]) prelude.add(`response.${event}`)

const wordless = ({ delta = {}, finish_reason }) =>
  !finish_reason && Object.entries(delta).every(([key, value]) => key === "role" || value === null || value === "")

// opening says what the first telling event of a stream is: "error", "content", or
// undefined while none has come.
function opening(text) {
  for (const event of text.split(/\r?\n\r?\n/).slice(0, -1)) {
    const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n").trim()
    if (!data) continue
    let said
    try {
      said = JSON.parse(data)
    } catch {
      return "content"
    }
    if (said?.error || said?.type === "error" || said?.type === "response.failed") return "error"
    const early = prelude.has(said?.type) || (Array.isArray(said?.choices) && said.choices.every(wordless))
    if (!early) return "content"
  }
}

// send sends one request with one lease. No header of the lease ever goes to an
// origin that isn't the lease's, nor along with a redirect to another one.
async function send(request, lease, provider) {
  let { url, method, body } = request
  const headers = new Headers(request.headers)
  for (const header of [...headers.keys()]) if (FOREIGN.includes(header) || steers(header)) headers.delete(header)
  for (const [header, value] of Object.entries(lease.headers)) {
    const own = header.toLowerCase() === "anthropic-beta" ? headers.get(header)?.split(",").map((flag) => flag.trim()) : undefined
    headers.set(header, own ? [...new Set([...value.split(",").map((flag) => flag.trim()), ...own])].join(",") : value)
  }
  const origin = new URL(url).origin
  if (!lease.origins.includes(origin))
    throw new Trouble(
      `OpenCode's configuration sends ${provider} to ${origin}, where this account's token may not go; nothing was sent (authferry status, and baseURL in opencode.json)`,
    )
  for (let hop = 0; ; hop++) {
    const response = await fetch(url, { ...request.options, method, headers, body, redirect: "manual" })
    const to = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location")
    if (!to) return response
    response.body?.cancel().catch(() => {})
    const next = URL.canParse(to, url) ? new URL(to, url) : undefined
    if (next?.origin !== origin || hop === MAX_REDIRECTS)
      throw new Trouble(`${provider} redirects to ${next?.origin ?? "somewhere else"}, where this account's token may not go; it was not sent there`)
    url = next.href
    if (method !== "HEAD" && (response.status === 303 || (method === "POST" && response.status < 303))) {
      method = "GET"
      body = undefined
      for (const header of ["content-type", "content-length", "content-encoding"]) headers.delete(header)
    }
  }
}

// outcome is an answer as authferry wants to hear of it: refused says whether it
// does.
async function outcome(request, lease, provider) {
  let response, text
  try {
    response = await send(request, lease, provider)
    if (response.status >= 400) [text, response] = await peek(response, (text) => text.length >= REPORTED_BODY, PATIENCE)
    else if (response.headers.get("content-type")?.includes("text/event-stream"))
      [text, response] = await peek(response, (text) => text.length >= WATCHED_BODY || opening(text), WATCHED_TIME)
  } catch (error) {
    if (error instanceof Trouble || request.signal?.aborted) throw error
    return { status: 0, refused: true, give: () => Promise.reject(error), drop() {} }
  }
  return {
    status: response.status,
    headers: Object.fromEntries([...response.headers].filter(([header]) => header !== "set-cookie")),
    body: text?.slice(0, REPORTED_BODY),
    refused: response.status >= 400 || (text !== undefined && opening(text) === "error"),
    give: () => response,
    drop: () => response.body?.cancel().catch(() => {}),
  }
}

function pause(ms, signal) {
  const { promise, resolve, reject } = Promise.withResolvers()
  const timer = setTimeout(resolve, ms)
  const aborted = () => reject(signal.reason)
  signal?.addEventListener("abort", aborted, { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener("abort", aborted)
  })
}

// table is `authferry status --json` for a model to read.
function table({ failover, strategy, pools }) {
  const cell = (text) => String(text).replace(/[|\s]+/g, " ")
  const when = (text) => (moment(text) ? clock(moment(text)) : "")
  const held = ({ scope, until, proven, refused }) => `${scope === "*" ? "" : `${scope} `}until ${when(until)}${refused ? " (refused by the API)" : proven ? "" : " (guessed)"}`
  const used = ({ window, used, resets_at }) => `${window} ${Math.round(used * 100)}%${resets_at ? ` until ${when(resets_at)}` : ""}`
  const lines = [`failover: ${failover ? "on" : "off"}, strategy: ${strategy}`]
  for (const { name, provider, reason, accounts } of pools) {
    lines.push("", `pool ${cell(name)} of ${provider}: ${cell(reason)}`)
    lines.push("| account | current | state | token valid until | held | used |", "| --- | --- | --- | --- | --- | --- |")
    for (const { label, current, state, expires_at, holds = [], usage = [] } of accounts) {
      const cells = [label, current ? "yes" : "", state.replace("_", " "), when(expires_at), holds.map(held).join(", "), usage.map(used).join(", ")]
      lines.push(`| ${cells.map(cell).join(" | ")} |`)
    }
  }
  if (pools.length === 0) lines.push("", "no account yet: authferry login")
  return lines.join("\n")
}

async function server({ client, directory }) {
  const said = new Map() // toast -> when
  const reported = new Map() // account -> when its usage was reported
  const serving = new Map() // provider and scope -> account
  const underWay = new Set() // reports that nobody waits for

  function toast(variant, message) {
    if (Date.now() - said.get(message) < 10_000) return // two requests of one prompt met the same limit
    said.set(message, Date.now())
    client.tui.showToast({ body: { title: "authferry", message, variant, duration: 10_000 } })?.catch?.(() => {})
  }

  function usage(lease, answer) {
    const id = lease.account.id
    if (Date.now() - reported.get(id) < USAGE_EVERY) return
    reported.set(id, Date.now())
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([header]) => /ratelimit|^x-codex-|^date$/.test(header)))
    const input = JSON.stringify({ lease: lease.lease, status: answer.status, headers })
    const report = authferry(["report", "--json", "--no-input"], { cwd: directory, input })
      .catch(() => {}) // the next one has newer figures
      .then(() => underWay.delete(report))
    underWay.add(report)
  }

  // serves tells the person who answers where that is somebody else than before.
  function serves(account, key, verdict) {
    const before = serving.get(key)
    serving.set(key, account)
    if (!before || before.id === account.id) return
    const until = moment(verdict?.hold?.until)
    if (verdict?.account?.state === "login_needed") toast("error", `${before.label} needs a login. Going on with ${account.label}`)
    else if (verdict?.hold?.refused) toast("error", `${before.label}: refused by the API. Going on with ${account.label}`)
    else if (until) toast("warning", `${before.label}: limit until ${clock(until)}. Going on with ${account.label}`)
    else toast("info", `Going on with ${account.label} (${account.provider})`)
  }

  // ferry is fetch for one provider.
  async function ferry(selection, input, init = {}) {
    const plain = new Request(input, init)
    const body = plain.body ? await plain.arrayBuffer() : undefined
    const signal = init.signal ?? plain.signal
    const options = { signal, ...("timeout" in init && { timeout: init.timeout }) } // and no proxy, socket or TLS settings
    const request = { url: plain.url, method: plain.method, headers: plain.headers, body, options, signal }
    const model = modelOf(request.url, body)
    const scope = model && `model:${model}`
    const ask = { cwd: directory, signal, provider: selection.provider }
    const flags = scope ? ["--hold-scope", scope] : []
    const next = async () => leased(await authferry(["token", ...selecting(selection), ...flags], ask))

    let lease = await next()
    let attempt = 1 // with this account
    let waited = 0
    const tried = new Set([lease.account.id])
    const key = `${selection.provider} ${scope}`
    serves(lease.account, key)
    for (let tries = 1; ; tries++) {
      const answer = await outcome(request, lease, selection.provider)
      if (!answer.refused) {
        usage(lease, answer)
        return answer.give()
      }
      const { status, headers, body } = answer
      const report = JSON.stringify({ lease: lease.lease, status, headers, body, hold_scope: scope, attempt })
      let verdict
      try {
        verdict = await authferry(["report", ...selecting(selection), "--next"], { ...ask, input: report })
      } catch (error) {
        const telling = status >= 400 && ![401, 402, 429].includes(status) // more than what went wrong here
        if (telling && !signal?.aborted) return answer.give()
        answer.drop()
        throw error
      }
      const delay = verdict.retry_after_ms ?? 0
      switch (verdict.action) {
        case "wait":
          answer.drop()
          throw troubleOf({ ...verdict.login, code: "all_held", retry_at: verdict.retry_at }, selection.provider)
        case "login":
          answer.drop()
          throw troubleOf({ code: "login_needed" }, selection.provider)
        case "retry":
        case "switch":
          break
        default:
          return answer.give()
      }
      if (tries === MAX_TRIES || waited + delay > MAX_WAIT) {
        if (status !== 401) return answer.give()
        answer.drop()
        throw troubleOf({ code: "provider_refused", retry_at: verdict.retry_at }, selection.provider)
      }
      answer.drop()
      if (delay > 0) await pause(delay, signal)
      waited += delay
      const before = lease
      if (verdict.next) lease = leased(verdict.next)
      else if (delay === 0) lease = await next()
      attempt++
      if (lease.account.id === before.account.id) continue
      if (tried.has(lease.account.id)) throw troubleOf({ code: "all_held", retry_at: verdict.retry_at }, selection.provider)
      tried.add(lease.account.id)
      attempt = 1
      serves(lease.account, key, verdict)
    }
  }

  const fetchFor = (selection) => (input, init) =>
    ferry(selection, input, init).catch((error) => {
      if (!(error instanceof Trouble)) throw error
      if (error.code === "login_needed") toast("error", `${selection.provider} needs a login: ${error.hint ?? `authferry login ${selection.provider}`}`)
      return error.response()
    })

  const status = (patience) => authferry(["status", "--json", "--no-input"], { cwd: directory, patience })

  // served are the mapped providers that authferry has accounts of; a provider
  // without one stays with whatever else OpenCode knows of it.
  async function served() {
    const all = Object.entries(SETTINGS.providers)
    try {
      const known = (await status(START)).pools.filter((pool) => pool.accounts.length > 0).map((pool) => pool.provider)
      return all.filter(([, selection]) => known.includes(selection.provider))
    } catch {
      return all // what is wrong, the first request tells
    }
  }

  const [offered, offer] = Object.entries(SETTINGS.providers)[0] ?? []
  return {
    async config(config) {
      for (const [id, selection] of await served()) {
        const provider = ((config.provider ??= {})[id] ??= {})
        const proxy = process.env["AUTHFERRY_PROXY_URL_" + selection.provider.toUpperCase().replace(/[^A-Z0-9]/g, "_")]
        if (proxy && provider.options?.baseURL?.startsWith(proxy + "/")) continue // authferry run does it all
        provider.options = { ...provider.options, apiKey: PLACEHOLDER, fetch: fetchFor(selection) }
      }
    },
    ...(offer && {
      auth: {
        provider: offered, // OpenCode lets a plugin name one
        methods: [
          {
            type: "oauth",
            label: "authferry",
            async authorize() {
              const ready = (await served()).some(([id]) => id === offered)
              const instructions = ready
                ? `authferry has the ${offer.provider} accounts and hands their tokens out; nothing secret is stored here (accounts: authferry status)`
                : `Run this in a terminal, then choose authferry here again: authferry login ${offer.provider}`
              const callback = async () => (ready ? { type: "success", key: PLACEHOLDER } : { type: "failed" })
              return { url: "", method: "auto", instructions, callback }
            },
          },
          { type: "api", label: "Manually enter API Key" }, // what OpenCode offers where no plugin does
        ],
      },
    }),
    tool: {
      auth_status: {
        description:
          "Shows the user's accounts that authferry hands out tokens of: which is current, until when its token is valid, which are held by a limit and until when, how much of each quota is used, and whether failover is on. Takes no arguments and shows no secret.",
        args: {},
        execute: () => status().then(table, (trouble) => trouble.message),
      },
    },
    dispose: () => Promise.allSettled(underWay),
  }
}

export default { id: "authferry", server }
