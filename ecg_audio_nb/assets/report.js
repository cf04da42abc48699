"use strict"
const $ = id => document.getElementById(id)
const D = JSON.parse($("data").textContent)
const root = document.documentElement
const W = D.words, S = D.segments, N = W.text.length, DURATION = Math.max(D.duration, 1e-3)
const SILENT = 1, GUESSED = 2, SPACED = 4, UNTIMED = 8, DOUBTED = 16 // bits of W.flag

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) if (value != null) made.setAttribute(name, value)
  made.append(...children)
  return made
}
function clock(seconds) {
  const tenths = Math.round(seconds * 10), h = Math.floor(tenths / 36000), m = Math.floor(tenths / 600) % 60
  const rest = ((tenths % 600) / 10).toFixed(1)
  return h ? `${h}:${String(m).padStart(2, "0")}:${rest.padStart(4, "0")}` : `${m}:${rest.padStart(4, "0")}`
}
const figure = (value, unit, digits = 0) => value == null ? null : `${value.toFixed(digits).replace("-", "\u2212")}\u202f${unit}`
const many = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`
const nameOf = s => s < 0 ? "Speaker not known" : D.speakers[s].name
const clamp = (x, low, high) => Math.min(Math.max(x, low), high)

// Colours: a speaker's own for fills; mixed with the ink, for edges and traces that must stand out on either theme

function mix(a, b, share) {
  const parts = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16))
  const [x, y] = [parts(a), parts(b)]
  return "#" + x.map((v, i) => Math.round(v * share + y[i] * (1 - share)).toString(16).padStart(2, "0")).join("")
}
let ink = "#000000", edges = [], tint = {}
function colour(element, s) {
  element.style.setProperty("--c", s < 0 ? "transparent" : D.speakers[s].colour)
  element.style.setProperty("--edge", s < 0 ? "var(--line)" : `color-mix(in srgb, ${D.speakers[s].colour} 50%, var(--ink))`)
  return element
}
function readTheme() {
  const style = getComputedStyle(root)
  for (const name of ["ink", "muted", "line", "soft", "this"]) tint[name] = style.getPropertyValue(`--${name}`).trim()
  ink = tint.ink
  edges = D.speakers.map(s => mix(s.colour, ink, 0.5))
}
const dark = matchMedia("(prefers-color-scheme: dark)")
let chosen = null
try { chosen = localStorage.getItem("ecg-theme") } catch { /* a page opened from a file may have no storage */ }
function theme() {
  root.dataset.theme = chosen || (dark.matches ? "dark" : "light")
  readTheme()
  draw()
}
$("theme").addEventListener("click", () => {
  chosen = root.dataset.theme === "dark" ? "light" : "dark"
  try { localStorage.setItem("ecg-theme", chosen) } catch { /* as above */ }
  theme()
})
dark.addEventListener("change", theme)

// The transcript: an element a segment, a span a word; the browser lays out only what is near the window

const list = $("segments"), rows = [], spans = new Array(N)
function buildSegment(i) {
  const [start, , speaker, first, count] = S[i]
  const said = el("p", {class: "said", dir: "auto"})
  if (D.language) said.lang = D.language
  for (let w = first; w < first + count; w++) {
    const flag = W.flag[w], silent = flag & SILENT
    const span = document.createElement("span")
    span.className = silent ? "w pause" : `w${flag & GUESSED ? " guess" : ""}${flag & DOUBTED ? " unsure" : ""}`
    span.dataset.w = w
    span.textContent = silent ? `pause ${((W.end[w] - W.start[w]) / 1000).toFixed(1)} s` : W.text[w]
    if (w > first && (flag & SPACED || silent || W.flag[w - 1] & SILENT)) said.append(" ")
    said.append(spans[w] = span)
  }
  const who = el("span", {dir: "auto"}, nameOf(speaker))
  const at = el("button", {type: "button", class: "at", tabindex: i ? -1 : 0, "aria-label": `Go to ${clock(start / 1000)}`}, clock(start / 1000))
  return colour(el("li", {class: "seg", "data-s": i}, el("div", {class: "who"}, who, at), said), speaker)
}
function buildTranscript() {
  const all = document.createDocumentFragment()
  for (let i = 0; i < S.length; i++) all.append(rows[i] = buildSegment(i))
  list.append(all)
  if (!S.length) empty("Nobody was heard to speak.")
}
function empty(text) { $("none").textContent = text; $("none").hidden = !text }
list.addEventListener("click", e => {
  if (!getSelection().isCollapsed) return
  const word = e.target.closest(".w"), at = e.target.closest(".at")
  if (word) seek(W.start[word.dataset.w] / 1000)
  else if (at) { seek(S[at.closest(".seg").dataset.s][0] / 1000); rove(at) }
})
list.addEventListener("pointerover", e => {
  const word = e.target.closest(".w")
  if (word && !word.title) word.title = describe(+word.dataset.w).filter(Boolean).join("\n")
})
let roving = null
function rove(button) {
  if (roving) roving.tabIndex = -1
  roving = button
  roving.tabIndex = 0
}
list.addEventListener("keydown", e => {
  if (!e.target.matches(".at") || !["ArrowDown", "ArrowUp"].includes(e.key)) return
  const next = e.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling"
  let row = e.target.closest(".seg")[next]
  while (row && row.hidden) row = row[next]
  if (row) { rove(row.querySelector(".at")); roving.focus(); e.preventDefault() }
})
function describe(w) { // what is known about a word, in lines
  const span = `${(W.start[w] / 1000).toFixed(2)}\u2013${(W.end[w] / 1000).toFixed(2)} s`
  const flag = W.flag[w]
  if (flag & SILENT) return ["a silence", span]
  return [W.text[w], span, figure(W.level[w], "dBFS", 1), figure(W.f0[w], "Hz F0"), figure(W.bright[w], "Hz centroid"),
    W.confidence[w] == null ? null : `${Math.round(W.confidence[w] * 100)}\u202f% confident`,
    W.speaker_confidence[w] == null ? null : `speaker: ${Math.round(W.speaker_confidence[w] * 100)}\u202f% confident`,
    w in W.others ? `${W.others[w]} talks at the same time` : null,
    flag & GUESSED ? "time interpolated between its neighbours" : flag & UNTIMED ? "no word times: the segment\u2019s" : null]
}

// Which words are being spoken: words by start, and the latest end so far, so that overlapping speakers are all found

const order = Uint32Array.from({length: N}, (_, i) => i).sort((a, b) => W.start[a] - W.start[b] || a - b)
const latest = new Float64Array(N)
for (let i = 0, end = -1; i < N; i++) latest[i] = end = Math.max(end, W.end[order[i]])
function lastFrom(n, startOf, ms) { // index of the last of n sorted starts at or before ms; -1 if there is none
  let low = 0, high = n
  while (low < high) { const mid = (low + high) >> 1; if (startOf(mid) <= ms) low = mid + 1; else high = mid }
  return low - 1
}
function spokenAt(ms) {
  const found = []
  for (let i = lastFrom(N, i => W.start[order[i]], ms); i >= 0 && latest[i] > ms; i--) if (W.end[order[i]] > ms) found.push(order[i])
  return found
}
const latestSegment = []
S.forEach((s, i) => { latestSegment[i] = Math.max(s[1], i ? latestSegment[i - 1] : 0) })
function segmentsAt(ms) {
  const found = []
  for (let i = lastFrom(S.length, i => S[i][0], ms); i >= 0 && latestSegment[i] > ms; i--) if (S[i][1] > ms) found.push(i)
  return found
}

// The player; without one there is still a position

const media = $("media"), hasMedia = Boolean(D.media)
let position = 0, playable = false, following = true, shownAt = -1, lit = [], current = []
function showTrouble(text) { $("trouble").textContent = text; $("trouble").hidden = !text }
function setUpCaptions() {
  if (media.textTracks.length || !D.captions?.length) return
  const shown = media.addTextTrack("captions", "Captions", D.language || ""), button = $("captions")
  for (const [start, end, text] of D.captions) {
    const plain = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")
    shown.addCue(new VTTCue(start / 1000, end / 1000, plain))
  }
  shown.mode = "showing"
  button.hidden = false
  button.addEventListener("click", () => {
    const on = shown.mode !== "showing"
    shown.mode = on ? "showing" : "hidden"
    button.setAttribute("aria-pressed", on)
  })
}
function setUpMedia() {
  $("play").hidden = $("speed").parentElement.hidden = $("follow").hidden = !hasMedia
  if (!hasMedia) return
  const embedded = $("media-data")
  if (embedded) {
    const bytes = Uint8Array.from(atob(embedded.textContent), c => c.charCodeAt(0))
    media.src = URL.createObjectURL(new Blob([bytes], {type: D.media.type}))
    embedded.remove()
  } else media.src = D.media.src
  media.addEventListener("loadedmetadata", () => {
    playable = true
    media.hidden = !media.videoWidth
    if (media.videoWidth) setUpCaptions()
    layout()
    if (position) media.currentTime = position
  })
  media.addEventListener("error", () => {
    playable = false
    media.hidden = $("speed").parentElement.hidden = true
    $("play").disabled = true
    showTrouble(embedded ? `This browser can\u2019t play ${D.media.name}: it lacks the codec. Everything else on this page works.`
      : `This browser can\u2019t play ${D.media.name}: it lacks the codec, or the file is no longer where this page looks for it. Everything else on this page works.`)
    layout()
  })
  for (const event of ["play", "pause", "ended"]) media.addEventListener(event, () => {
    root.classList.toggle("playing", !media.paused)
    $("play").setAttribute("aria-label", media.paused ? "Play" : "Pause")
    if (!media.paused) requestAnimationFrame(tick)
    else tell()
  })
  media.addEventListener("timeupdate", () => { if (media.paused) show(media.currentTime) })
  media.addEventListener("click", toggle)
  $("play").addEventListener("click", toggle)
  $("speed").addEventListener("change", () => { media.playbackRate = +$("speed").value })
}
function toggle() {
  if (!playable) return
  if (media.paused) media.play().catch(e => showTrouble(`The browser did not start to play: ${e.message}`))
  else media.pause()
}
function tick() {
  show(media.currentTime)
  if (!media.paused) requestAnimationFrame(tick)
}
function seek(seconds, scroll = false) {
  position = clamp(seconds, 0, DURATION)
  if (playable) media.currentTime = position
  show(position)
  tell()
  if (scroll) scrollToCurrent()
}
function setFollow(on) {
  following = on
  $("follow").setAttribute("aria-pressed", on)
}
$("follow").addEventListener("click", () => { setFollow(!following); if (following) scrollToCurrent() })
for (const event of ["wheel", "touchmove"]) list.addEventListener(event, () => { if (!media.paused) setFollow(false) }, {passive: true})
function tell() { // for assistive technology: only when someone moved, never at each word
  const track = $("track")
  track.setAttribute("aria-valuenow", position.toFixed(1))
  const speaking = current.map(i => nameOf(S[i][2])).join(" and ")
  track.setAttribute("aria-valuetext", `${clock(position)} of ${clock(DURATION)}${speaking ? `, ${speaking}` : ""}`)
}
function changed(a, b) { return a.length !== b.length || a.some((x, i) => x !== b[i]) }
function show(seconds) {
  position = seconds
  const ms = Math.round(seconds * 1000)
  if (ms !== shownAt) $("now").textContent = clock(seconds)
  shownAt = ms
  const words = spokenAt(ms), segments = segmentsAt(ms)
  if (changed(words, lit)) {
    for (const w of lit) spans[w].classList.remove("lit")
    for (const w of lit = words) spans[w].classList.add("lit")
    showWord(lit[0])
  }
  if (changed(segments, current)) {
    for (const i of current) rows[i].classList.remove("now")
    for (const i of current = segments) rows[i].classList.add("now")
    if (following && !media.paused) scrollToCurrent()
  }
  moveHead()
}
function showWord(w) {
  const [text, ...rest] = w == null ? [""] : describe(w)
  $("word").replaceChildren(el("b", {}, text), text ? "  " + rest.filter(Boolean).join(" · ") : "")
}
function scrollToCurrent() {
  const row = rows[current[0]]
  if (!row || row.hidden) return
  const box = row.getBoundingClientRect(), top = dock() + 12
  if (box.top >= top && box.bottom <= innerHeight - 40) return
  row.scrollIntoView({block: "start", behavior: reduced.matches ? "auto" : "smooth"})
}
const reduced = matchMedia("(prefers-reduced-motion: reduce)")
function dock() {
  const player = $("player"), bar = getComputedStyle(player).display === "contents" ? player.querySelector(".transport") : player
  return bar.offsetHeight
}

// Lanes: one canvas, one time scale

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0))
const L = D.lanes && {step: D.lanes.step, wave: new Int8Array(bytes(D.lanes.wave).buffer), level: bytes(D.lanes.level),
  f0: new Uint16Array(bytes(D.lanes.f0).buffer)}
const canvas = $("canvas"), track = $("track"), view = {from: 0, to: DURATION}
let width = 0, height = 0, place = {}, pitch = [75, 400]
function lanePlan() { // name -> [top, height]
  const n = D.speakers.length, row = n <= 4 ? 18 : n <= 8 ? 13 : n <= 20 ? 7 : 3
  const sizes = {wave: L ? 56 : 26, turns: Math.max(n, 1) * row + 8, level: L ? 44 : 22, f0: L ? 48 : 22, axis: 18}
  let top = 0
  place = {row}
  for (const [name, size] of Object.entries(sizes)) { place[name] = [top, size]; top += size + (name === "f0" ? 0 : 4) }
  height = top - 4
  root.style.setProperty("--plot", `${place.axis[0]}px`)
}
function label(top, size, text, small, speaker = -1) {
  const made = el("div", {}, el("span", {dir: "auto"}, text))
  if (small) made.append(el("small", {}, small))
  if (speaker >= 0) { made.className = "turn"; made.title = text; colour(made, speaker) }
  made.style.top = `${top}px`
  made.style.height = `${size}px`
  $("labels").append(made)
}
const LEVELS = [-20, -40], pitches = () => [100, 200, 400].filter(f => f > pitch[0] * 1.05 && f < pitch[1] * 0.95)
const levelY = v => place.level[0] + 3 + clamp(-v / 70, 0, 1) * (place.level[1] - 6)
function pitchY(f) {
  const [top, size] = place.f0, [low, high] = pitch.map(Math.log)
  return top + size - 4 - clamp((Math.log(f) - low) / (high - low), 0, 1) * (size - 8)
}
function mark(at, text) {
  const made = el("div", {class: "mark"}, String(text).replace("-", "\u2212"))
  made.style.top = `${at - 7}px`
  $("labels").append(made)
}
function buildLabels() {
  label(...place.wave, "Waveform")
  if (place.row >= 13) D.speakers.forEach((s, i) => label(place.turns[0] + 4 + i * place.row, place.row, s.name, "", i))
  else label(...place.turns, "Speakers", String(D.speakers.length))
  label(...place.level, "Level", L && "dBFS")
  label(...place.f0, "F0", L && "Hz")
  if (L) { for (const v of LEVELS) mark(levelY(v), v); for (const v of pitches()) mark(pitchY(v), v) }
}
function setPitchRange() {
  if (!L) return
  const heard = L.f0.filter(x => x).sort()
  if (!heard.length) return
  pitch = [Math.max(heard[Math.floor(heard.length * 0.01)] / 10 * 0.9, 40), heard[Math.floor(heard.length * 0.99)] / 10 * 1.1]
}
function layout() {
  width = track.clientWidth
  const ratio = devicePixelRatio || 1
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(height * ratio)
  canvas.style.height = `${height}px`
  root.style.setProperty("--dock", `${dock()}px`)
  draw()
}
const x = t => (t - view.from) / (view.to - view.from) * width
const timeAt = px => view.from + px / Math.max(width, 1) * (view.to - view.from)
function whoAt() { // pixel column -> speaker, -1 where nobody, -2 where several talk
  const who = new Int16Array(Math.ceil(width)).fill(-1)
  for (const [start, end, s] of D.turns) {
    if (end / 1000 < view.from || start / 1000 > view.to) continue
    const column = ms => clamp(Math.ceil(x(ms / 1000) - 0.5), 0, who.length) // whose middle lies behind
    for (let p = column(start), last = column(end); p < last; p++) who[p] = who[p] === -1 || who[p] === s ? s : -2
  }
  return who
}
let asked = 0
function draw() { // once a frame, however often it is asked for
  asked ||= requestAnimationFrame(() => { asked = 0; paintLanes() })
  moveHead()
}
function paintLanes() {
  if (!width || !height) return
  const g = canvas.getContext("2d"), ratio = canvas.width / width, who = whoAt()
  g.setTransform(ratio, 0, 0, ratio, 0, 0)
  g.clearRect(0, 0, width, height)
  g.font = `11px ${getComputedStyle(document.body).fontFamily}`
  g.fillStyle = tint.soft
  for (const name of ["wave", "turns", "level", "f0"]) {
    const [top, size] = place[name]
    g.beginPath()
    g.roundRect(0, top, width, size, 6)
    g.fill()
  }
  const paint = s => s === -2 ? ink : s < 0 ? tint.muted : D.only && !D.only.has(s) ? tint.line : edges[s]
  drawTurns(g)
  drawAxis(g)
  if (L) { drawWave(g, who, paint); drawLevel(g, who, paint); drawPitch(g, who, paint) }
  else for (const name of ["wave", "level", "f0"]) note(g, name, "not available: the page was made without the recording")
}
function note(g, name, text) {
  g.fillStyle = tint.muted
  g.textBaseline = "middle"
  g.textAlign = "left"
  g.fillText(width < 420 ? "not available" : text, 10, place[name][0] + place[name][1] / 2)
}
function drawTurns(g) {
  for (const [start, end, s] of D.turns) {
    const left = x(start / 1000), right = x(end / 1000)
    if (right < 0 || left > width || s < 0) continue
    g.globalAlpha = D.only && !D.only.has(s) ? 0.25 : 1
    g.fillStyle = D.speakers[s].colour
    g.strokeStyle = edges[s]
    g.beginPath()
    const gap = place.row > 6 ? 3 : 0.5
    g.roundRect(left, place.turns[0] + 4 + s * place.row + gap, Math.max(right - left, 1), place.row - 2 * gap, place.row > 6 ? 3 : 0)
    g.fill()
    if (right - left > 3) g.stroke()
  }
  g.globalAlpha = 1
}
const STEPS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]
function drawAxis(g) {
  const span = view.to - view.from, step = STEPS.find(s => s / span * width > 74) || 7200
  g.fillStyle = tint.muted
  g.textBaseline = "bottom"
  for (let t = Math.ceil(view.from / step) * step; t <= view.to + 1e-9; t += step) {
    const at = x(t), text = step < 0.1 ? t.toFixed(2) : step < 1 ? clock(t) : clock(t).replace(/\.0$/, "")
    g.globalAlpha = 0.35
    g.fillRect(at, place.axis[0] + 1, 1, 4)
    g.globalAlpha = 1
    g.textAlign = at < 16 ? "left" : at > width - 16 ? "right" : "center"
    g.fillText(text, clamp(at, 0, width), height)
  }
  if (!matches.length) return
  g.fillStyle = tint.this
  let last = -9
  for (const m of matches) {
    const at = Math.round(x(W.start[m.word] / 1000))
    if (at <= last + 1 || at < 0 || at > width) continue
    g.fillRect(at - 1, place.axis[0] - 1, 3, 6)
    last = at
  }
}
function columns(visit) { // pixel column, first bin, bin behind the last
  const most = L.level.length
  for (let p = 0; p < width; p++) {
    const a = Math.floor(timeAt(p) / L.step), b = Math.max(Math.ceil(timeAt(p + 1) / L.step), a + 1)
    if (a >= 0 && a < most) visit(p, a, Math.min(b, most))
  }
}
function drawWave(g, who, paint) {
  const [top, size] = place.wave, middle = top + size / 2
  columns((p, a, b) => {
    let low = 127, high = -127
    for (let i = a; i < b; i++) { if (L.wave[2 * i] < low) low = L.wave[2 * i]; if (L.wave[2 * i + 1] > high) high = L.wave[2 * i + 1] }
    g.fillStyle = paint(who[p])
    const up = middle - high / 127 * (size / 2 - 3), down = middle - low / 127 * (size / 2 - 3)
    g.fillRect(p, up, 1, Math.max(down - up, 1))
  })
}
const levelAt = v => -100 + (v - 1) / 254 * 100
function scale(g, values, at) {
  g.fillStyle = tint.muted
  g.globalAlpha = 0.22
  for (const v of values) g.fillRect(0, Math.round(at(v)), width, 1)
  g.globalAlpha = 1
}
function drawLevel(g, who, paint) {
  const [top, size] = place.level, y = levelY
  scale(g, LEVELS, y)
  let before = null
  columns((p, a, b) => {
    let most = 0
    for (let i = a; i < b; i++) if (L.level[i] > most) most = L.level[i]
    if (!most || levelAt(most) < -70) { before = null; return }
    const now = y(levelAt(most))
    g.fillStyle = paint(who[p])
    g.globalAlpha = 0.25
    g.fillRect(p, now, 1, top + size - 3 - now)
    g.globalAlpha = 1
    g.fillRect(p, Math.min(now, before ?? now), 1, Math.abs(now - (before ?? now)) + 1.4)
    before = now
  })
}
function drawPitch(g, who, paint) {
  scale(g, pitches(), pitchY)
  const thin = (view.to - view.from) / L.step > 3 * width
  columns((p, a, b) => {
    g.fillStyle = paint(who[p])
    g.globalAlpha = thin ? 0.5 : 1
    let last = -99
    for (let i = a; i < b; i++) {
      if (!L.f0[i]) continue
      const at = Math.round(pitchY(L.f0[i] / 10))
      if (at !== last) g.fillRect(p - 0.3, at - 0.8, 1.6, 1.8)
      last = at
    }
  })
  g.globalAlpha = 1
}
function moveHead() {
  const at = x(position), inside = at >= -1 && at <= width + 1
  $("head").hidden = !inside
  $("head").style.transform = `translateX(${at}px)`
  if (!inside && !media.paused && !dragging) setView(position - (view.to - view.from) * 0.05, view.to - view.from)
}
function setView(from, span) {
  span = clamp(span, Math.min(1, DURATION), DURATION)
  view.from = clamp(from, 0, DURATION - span)
  view.to = view.from + span
  const zoomed = span < DURATION * 0.999
  $("out").disabled = $("whole").disabled = !zoomed
  $("in").disabled = span <= 1
  if ($("pan").hidden === zoomed) { $("pan").hidden = !zoomed; root.style.setProperty("--dock", `${dock()}px`) }
  $("pan").value = zoomed ? view.from / (DURATION - span) * 1000 : 0
  $("pan").setAttribute("aria-valuetext", `${clock(view.from)} to ${clock(view.to)}`)
  draw()
}
function zoom(factor, around = clamp(position, view.from, view.to)) {
  const span = (view.to - view.from) * factor
  setView(around - (around - view.from) * factor, span)
}
$("in").addEventListener("click", () => zoom(0.5))
$("out").addEventListener("click", () => zoom(2))
$("whole").addEventListener("click", () => setView(0, DURATION))
$("pan").addEventListener("input", () => setView($("pan").value / 1000 * (DURATION - view.to + view.from), view.to - view.from))
track.addEventListener("wheel", e => {
  const span = view.to - view.from
  if (e.ctrlKey || e.metaKey) zoom(Math.exp(e.deltaY * 0.003), timeAt(e.offsetX))
  else if (span < DURATION && (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY))) setView(view.from + (e.deltaX || e.deltaY) / width * span, span)
  else return
  e.preventDefault()
}, {passive: false})
let dragging = false
const pointed = e => clamp(timeAt(e.clientX - track.getBoundingClientRect().left), 0, DURATION)
track.addEventListener("pointerdown", e => {
  if (e.button) return
  dragging = true
  track.setPointerCapture(e.pointerId)
  seek(pointed(e))
})
track.addEventListener("pointermove", e => {
  const t = pointed(e), at = x(t)
  $("ghost").hidden = $("under").hidden = e.pointerType === "touch"
  $("ghost").style.transform = `translateX(${at}px)`
  $("under").textContent = [clock(t), ...measured(t)].join(" · ")
  $("under").style.transform = `translateX(${clamp(at + 8, 0, Math.max(width - $("under").offsetWidth, 0))}px)`
  if (dragging) seek(t)
})
for (const event of ["pointerup", "pointercancel"]) track.addEventListener(event, () => { if (dragging) { dragging = false; scrollToCurrent() } })
track.addEventListener("pointerleave", () => { $("ghost").hidden = $("under").hidden = true })
function measured(t) {
  if (!L) return []
  const i = Math.floor(t / L.step)
  return [L.level[i] ? figure(levelAt(L.level[i]), "dBFS") : null, L.f0[i] ? figure(L.f0[i] / 10, "Hz") : null].filter(Boolean)
}

// Search: plain text, case and Latin accents aside, over what each segment says; highlights stand only where one looks

const fold = text => {
  const low = text.toLowerCase()
  const same = low.length === text.length ? low : Array.from(text, c => c.toLowerCase().length === c.length ? c.toLowerCase() : c).join("")
  return same.replace(/[\u00c0-\u024f\u1e00-\u1eff]/g, c => c.normalize("NFD")[0])
}
const hay = [], visible = new Set()
let matches = [], at = -1, query = ""
function hayOf(i) { // the segment's text, and where each word begins in it
  if (hay[i]) return hay[i]
  const [, , , first, count] = S[i], starts = [], words = []
  let text = ""
  for (let w = first; w < first + count; w++) {
    if (W.flag[w] & SILENT) continue
    if (text && W.flag[w] & SPACED) text += " "
    starts.push(text.length)
    words.push(w)
    text += W.text[w]
  }
  return hay[i] = {text: fold(text), starts, words}
}
function search() {
  query = fold($("query").value.trim().replace(/\s+/g, " "))
  matches = []
  at = -1
  if (query) for (let i = 0; i < S.length; i++) {
    if (D.only && !D.only.has(S[i][2])) continue
    const {text, starts, words} = hayOf(i)
    for (let from = text.indexOf(query); from >= 0; from = text.indexOf(query, from + query.length)) {
      matches.push({segment: i, from, to: from + query.length, word: words[lastFrom(starts.length, k => starts[k], from)]})
    }
  }
  if (matches.length) at = 0
  $("prev").disabled = $("next").disabled = !matches.length
  told()
  draw()
  if (matches.length) reveal()
}
function told() {
  $("count").textContent = !query ? "" : matches.length ? `${(at + 1).toLocaleString("en")} of ${matches.length.toLocaleString("en")}` : "No matches"
  highlight()
}
function rangeOf(m) {
  const {starts, words} = hayOf(m.segment), range = document.createRange()
  const place = offset => {
    const k = lastFrom(starts.length, k => starts[k], offset), node = spans[words[k]].firstChild
    return [node, Math.min(offset - starts[k], node.length)]
  }
  range.setStart(...place(m.from))
  const [node, offset] = place(m.to - 1)
  range.setEnd(node, Math.min(offset + 1, node.length))
  return range
}
let marked = []
function highlight() {
  const near = matches.filter(m => visible.has(m.segment))
  if (CSS.highlights) {
    CSS.highlights.set("hits", new Highlight(...near.slice(0, 2000).map(rangeOf)))
    const now = new Highlight(...at >= 0 ? [rangeOf(matches[at])] : [])
    now.priority = 1
    CSS.highlights.set("this-hit", now)
  } else {
    for (const span of marked) span.classList.remove("hit")
    marked = near.map(m => spans[m.word])
    for (const span of marked) span.classList.add("hit")
  }
}
function setUpObserver() {
  const observer = new IntersectionObserver(entries => {
    for (const e of entries) { const i = +e.target.dataset.s; if (e.isIntersecting) visible.add(i); else visible.delete(i) }
    if (matches.length) highlight()
  }, {rootMargin: "200px"})
  window.addEventListener("load", () => {
    for (const row of rows) observer.observe(row)
    setTimeout(() => S.forEach((_, i) => hayOf(i)), 200) // so that the first search is as quick as the next
  })
}
function reveal() { spans[matches[at].word].scrollIntoView({block: "center"}) }
function step(by) {
  if (!matches.length) return
  at = (at + by + matches.length) % matches.length
  told()
  reveal()
}
$("query").addEventListener("input", search)
$("query").addEventListener("keydown", e => {
  if (e.key === "Enter") { step(e.shiftKey ? -1 : 1); e.preventDefault() }
  if (e.key === "Escape") { $("query").value = ""; search(); $("query").blur() }
})
$("next").addEventListener("click", () => step(1))
$("prev").addEventListener("click", () => step(-1))

// Speakers: who they are, what was measured, and whom to show

D.only = null
function spread(range, low, high, digits, unit) {
  if (!range) return null
  const bar = el("div", {class: "spread", role: "img", "aria-label": `from ${range[0].toFixed(digits)} to ${range[2].toFixed(digits)} ${unit}`})
  const where = v => clamp((v - low) / (high - low) * 100, 0, 100)
  const span = el("i"), mid = el("b")
  span.style.left = `${where(range[0])}%`
  span.style.right = `${100 - where(range[2])}%`
  mid.style.left = `${where(range[1])}%`
  bar.append(span, mid)
  return bar
}
function three(range, single, unit, digits = 0) {
  if (range) return [el("span", {title: `${unit}: low · median · high`}, range.map(v => v.toFixed(digits).replace("-", "\u2212")).join(" · "))]
  return single == null ? ["not known"] : [single.toFixed(digits).replace("-", "\u2212"), el("small", {}, "range not known")]
}
function buildSpeakers() {
  const all = D.speakers.reduce((sum, s) => sum + s.talk, 0)
  D.speakers.forEach((s, i) => {
    const facts = el("dl")
    const add = (name, values, bar) => facts.append(el("div", {}, el("dt", {}, name), el("dd", {}, ...values, bar || "")))
    add("Talk time", [clock(s.talk), all ? el("small", {}, `${Math.round(s.talk / all * 100)}\u202f% of all talk`) : ""])
    add("Words", [s.words.toLocaleString("en"), el("small", {}, `in ${many(s.segments, "segment")}`)])
    add("Level, dBFS", three(s.level, s.level_db, "dBFS"), spread(s.level, -60, 0, 0, "dBFS"))
    if (s.lufs != null) add("Loudness, LUFS", [s.lufs.toFixed(1).replace("-", "\u2212")])
    add("F0, Hz", three(s.f0, s.f0_hz, "Hz"), spread(s.f0, 50, 400, 0, "Hz"))
    const only = el("button", {type: "button", class: "chip", "aria-pressed": "false", "aria-label": `Show only ${s.name}`, "data-only": i}, "Only")
    const name = el("div", {class: "name"}, el("h3", {dir: "auto"}, el("span", {class: "dot", "aria-hidden": "true"}), el("span", {}, s.name)), only)
    $("speakers").append(colour(el("li", {class: "voice"}, name, facts), i))
    const share = colour(el("i"), i)
    share.style.flexGrow = s.talk
    if (s.talk) $("shares").append(share)
  })
  if (!D.speakers.length) $("speakers").append(el("li", {class: "muted"}, "Who spoke is not known."))
  if (D.speakers.length < 2) for (const b of document.querySelectorAll("[data-only]")) b.hidden = true
}
function filter(only) {
  D.only = only && only.size ? only : null
  S.forEach((s, i) => { rows[i].hidden = Boolean(D.only) && !D.only.has(s[2]) })
  for (const b of document.querySelectorAll("[data-only]")) {
    const on = Boolean(D.only && D.only.has(+b.dataset.only))
    b.setAttribute("aria-pressed", on)
    b.closest(".voice").classList.toggle("off", Boolean(D.only) && !on)
  }
  $("everyone").hidden = !D.only
  empty(S.length ? rows.some(r => !r.hidden) ? "" : "Nothing they said was recognized." : "Nobody was heard to speak.")
  if (query) search()
  draw()
}
$("speakers").addEventListener("click", e => {
  const button = e.target.closest("[data-only]")
  if (!button) return
  const only = new Set(D.only || []), s = +button.dataset.only
  if (!only.delete(s)) only.add(s)
  filter(only)
})
$("everyone").addEventListener("click", () => { filter(null); document.querySelector("[data-only]").focus() })

// Downloads: packed in the page, unpacked at the click

async function unpack(node) {
  const stream = new Blob([bytes(node.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"))
  return await new Response(stream).blob()
}
function buildDownloads() {
  for (const node of document.querySelectorAll("script[data-format]")) {
    const format = node.dataset.format, button = el("button", {type: "button", class: "chip", "aria-label": `Download as ${format}`}, format)
    button.addEventListener("click", async () => {
      const url = URL.createObjectURL(await unpack(node))
      el("a", {href: url, download: `${D.stem}.${format}`}).click()
      setTimeout(() => URL.revokeObjectURL(url), 10000)
    })
    $("downloads").append(button)
  }
  $("files").hidden = !$("downloads").children.length
}

// How it was made

function table(head, lines) {
  const body = el("tbody", {}, ...lines.map(([first, ...rest]) => el("tr", {}, el("th", {scope: "row"}, first), ...rest.map(c => el("td", {}, c ?? "")))))
  const top = head ? [el("thead", {}, el("tr", {}, ...head.map(h => el("th", {scope: "col"}, h))))] : []
  return el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Table"}, el("table", {}, ...top, body))
}
function stretch(share) {
  const bar = el("i")
  bar.style.width = `${share * 100}%`
  return el("div", {class: "stretch", "aria-hidden": "true"}, bar)
}
function part(title, small, content, open = false) {
  const made = el("details", {}, el("summary", {}, title, el("span", {}, small)), content)
  made.open = open
  $("made").append(made)
}
function buildAbout() {
  const m = D.made
  if (m.notes.length) {
    $("made").append(el("div", {class: "notes"}, el("h3", {}, many(m.notes.length, "note")), el("ul", {}, ...m.notes.map(n => el("li", {}, n)))))
    $("notes-link").textContent = many(m.notes.length, "note")
    $("notes-link").hidden = false
  }
  if (m.models.length) part("Models", many(m.models.length, "stage"), table(["Stage", "Engine", "Model", "Revision", "Weights (SHA-256)", "Device", "Numbers"], m.models))
  if (m.stages.length) {
    const most = Math.max(...m.stages.map(s => s[1]), 1e-9)
    part("Time taken", m.took, table(["Stage", "Seconds at work", ""], m.stages.map(([name, s]) => [name, s.toFixed(1), stretch(s / most)])))
  }
  if (m.settings.length) part("Settings", many(m.settings.length, "value"), table(["Setting", "Value"], m.settings))
  if (m.facts.length) part("This file", "", table(null, m.facts))
}

// Keys

document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return
  const typing = e.target.matches("input, select, textarea"), pressable = e.target.matches("button, summary, a, select, input")
  if (e.key === "/" && !typing) { $("query").focus(); $("query").select(); e.preventDefault() }
  else if (e.key === " " && !pressable && hasMedia) { toggle(); e.preventDefault() }
  else if (!typing && (e.key === "ArrowLeft" || e.key === "ArrowRight")) { seek(position + (e.key === "ArrowLeft" ? -5 : 5), true); e.preventDefault() }
  else if (e.target === track && (e.key === "Home" || e.key === "End")) { seek(e.key === "Home" ? 0 : DURATION, true); e.preventDefault() }
})

function begin() {
  document.title = D.title
  $("title").textContent = D.title
  $("facts").textContent = D.facts.map(f => f.replaceAll(" ", "\u00a0")).join(" · ")
  $("total").textContent = clock(D.duration)
  $("now").style.minWidth = `${clock(D.duration).length - 0.6}ch`
  track.setAttribute("aria-valuemax", D.duration.toFixed(1))
  buildTranscript()
  rove(list.querySelector(".at") || el("button"))
  setUpObserver()
  buildSpeakers()
  buildDownloads()
  buildAbout()
  lanePlan()
  setPitchRange()
  buildLabels()
  theme()
  setUpMedia()
  setView(0, DURATION)
  new ResizeObserver(layout).observe(track)
  new ResizeObserver(() => root.style.setProperty("--dock", `${dock()}px`)).observe($("player").querySelector(".transport"))
  layout()
  show(0)
  tell()
  root.dataset.ready = "true"
}
begin()
