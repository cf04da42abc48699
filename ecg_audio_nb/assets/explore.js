// The view of `explore`: a time line with waveform, speaker lanes, level and F0; words to click; a form to correct them.
// It draws the state that Python sends, plays the sound it requests, and sends what the user does. Python computes everything.

const CHUNK = 10 // seconds of sound asked for at a time
const CHANGED = 1, GUESSED = 2, DOUBTED = 4 // bits of a word's flag
const NOBODY = "#9a9a9a"

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value)
    else if (value != null && value !== false) made.setAttribute(name, value === true ? "" : value)
  }
  made.append(...children.filter(c => c != null))
  return made
}
const clamp = (x, low, high) => Math.min(Math.max(x, low), high)
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0))
const figure = (value, unit, digits = 0) => value == null ? null : `${value.toFixed(digits).replace("-", "\u2212")} ${unit}`
function clock(seconds, digits = 1) {
  const unit = 10 ** digits, all = Math.round(seconds * unit), h = Math.floor(all / (3600 * unit)), m = Math.floor(all / (60 * unit)) % 60
  const rest = ((all % (60 * unit)) / unit).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")
  return h ? `${h}:${String(m).padStart(2, "0")}:${rest}` : `${m}:${rest}`
}

// Sound: chunks of PCM from Python, played one after the other on one clock

class Player {
  constructor(model, duration, onChange) {
    Object.assign(this, {model, duration, onChange, kept: new Map(), waiting: new Map(), nodes: [], run: 0, at: 0, from: 0, to: 0, began: null})
    model.on("msg:custom", this.onSound = (message, buffers) => {
      if (message.kind !== "sound") return
      const pcm = new Int16Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength / 2)
      this.waiting.get(message.chunk)?.(pcm)
      this.waiting.delete(message.chunk)
    })
  }
  async chunk(k) {
    if (!this.kept.has(k)) this.kept.set(k, new Promise(done => {
      this.waiting.set(k, done)
      this.model.send({kind: "sound", chunk: k, seconds: CHUNK})
    }))
    const pcm = await this.kept.get(k), rate = this.model.get("rate")
    const buffer = this.context.createBuffer(1, Math.max(pcm.length, 1), rate), out = buffer.getChannelData(0)
    for (let i = 0; i < pcm.length; i++) out[i] = pcm[i] / 32768
    return buffer
  }
  get playing() { return this.began != null }
  get position() { return this.playing ? clamp(this.from + this.context.currentTime - this.began, this.from, this.to) : this.at }
  async play(from, to = this.duration) {
    this.stop()
    const run = ++this.run
    this.context ??= new AudioContext()
    await this.context.resume()
    let at = clamp(from, 0, this.duration), when = null
    this.to = clamp(to, 0, this.duration)
    while (at < this.to - 1e-4) {
      const k = Math.floor(at / CHUNK + 1e-9), buffer = await this.chunk(k)
      if (run !== this.run) return
      if (when == null || when < this.context.currentTime) { // the first piece, or one that came too late
        when = this.context.currentTime + 0.03
        this.from = at
        this.began = when
      }
      const node = this.context.createBufferSource(), lasts = Math.min((k + 1) * CHUNK, this.to) - at
      node.buffer = buffer
      node.connect(this.context.destination)
      node.start(when, at - k * CHUNK, lasts)
      this.nodes.push(node)
      when += lasts
      at += lasts
      this.onChange()
      while (when - this.context.currentTime > CHUNK / 2 && run === this.run) await new Promise(r => setTimeout(r, 100))
      if (run !== this.run) return
    }
    while (run === this.run && this.context.currentTime < when) await new Promise(r => setTimeout(r, 20))
    if (run === this.run) { this.stop(); this.onChange() }
  }
  stop() {
    this.at = this.position
    this.run++
    this.began = null
    for (const node of this.nodes.splice(0)) try { node.stop() } catch { /* it had not begun */ }
  }
  close() {
    this.stop()
    this.model.off("msg:custom", this.onSound)
    this.context?.close()
  }
}

function render({model, el: root}) {
  const show = {data: model.get("data"), lanes: null, from: 0, to: 1, picked: null, chosen: null}
  const layer = () => show.data.layers[show.data.shown]
  const player = new Player(model, show.data.duration, () => { tellPlay(); frame() })
  const send = message => model.send(message)
  root.classList.add("ecg-explore")

  // The parts

  const button = (name, title, onclick, more = {}) => el("button", {type: "button", title, onclick, ...more}, name)
  const tabs = el("div", {class: "tabs", role: "group", "aria-label": "layer shown"})
  const playButton = button("▶", "play from here (space)", toggle, {class: "play", "aria-label": "Play"})
  const now = el("span", {class: "now"}), status = el("span", {class: "status", role: "status"})
  const summary = el("p", {class: "summary"}), notes = el("div", {class: "notes"})
  const canvas = el("canvas"), lanes = el("div", {class: "lanes"}), labels = el("div", {class: "labels"})
  const head = el("div", {class: "head"}), marked = el("div", {class: "marked"})
  const track = el("div", {class: "track", tabindex: 0, role: "slider", "aria-label": "position", "aria-valuemin": 0}, canvas, lanes, marked, head)
  const slide = el("input", {type: "range", min: 0, max: 1000, value: 0, class: "slide", "aria-label": "visible part"})
  const words = el("div", {class: "words", tabindex: 0})
  const form = el("form", {class: "correct", hidden: true}), texts = el("details", {class: "texts"})
  const undo = button("undo", "undo the last correction", () => send({kind: "undo"}))
  const save = button("save", "save the corrections as a reference", () => send({kind: "save"}), {class: "save"})
  const bar = el("div", {class: "bar"}, playButton, now, tabs, undo, save, el("span", {class: "space"}),
    button("−", "zoom out (−)", () => zoom(1 / 1.6), {"aria-label": "zoom out"}), button("+", "zoom in (+)", () => zoom(1.6), {"aria-label": "zoom in"}),
    button("all", "show the whole recording", () => view(0, show.data.duration)), button("selection", "zoom to the selection", toSelection))
  const face = el("div", {class: "face"}, labels, track)
  root.replaceChildren(el("h4", {class: "title"}), bar, summary, face, slide, status, notes, words, form, texts)

  // The state that Python sends

  const colourOf = who => layer().speakers.find(p => p.name === who)?.colour ?? NOBODY
  function take() {
    show.data = model.get("data")
    player.duration = show.data.duration
    const known = show.chosen && show.chosen.layer === show.data.shown ? show.chosen : null
    show.chosen = known && known.number < layer()[known.kind === "word" ? "words" : "turns"].length ? known : null
    root.querySelector(".title").textContent = `${show.data.name} · ${clock(show.data.duration)}`
    drawTabs(); drawSummary(); drawWords(); drawTexts(); drawForm(); layout()
    root.dataset.shown = show.data.shown
    root.dataset.version = show.data.version
  }
  function takeLanes() {
    const l = model.get("lanes")
    show.lanes = l.step ? {step: l.step, wave: new Int8Array(bytes(l.wave).buffer), level: bytes(l.level), f0: new Uint16Array(bytes(l.f0).buffer)} : null
    const voiced = show.lanes ? show.lanes.f0.filter(x => x).sort() : []
    show.pitch = voiced.length ? [voiced[Math.floor(voiced.length * 0.01)] / 11, voiced[Math.floor(voiced.length * 0.99)] / 9] : null
    layout()
  }
  function tellStatus() { status.textContent = model.get("status") }

  function drawTabs() {
    const layers = Object.keys(show.data.layers)
    tabs.replaceChildren(...layers.map(name => button(name === "R" ? "corrected" : name, name === "R" ? "your corrections" : `settings ${name}`,
      () => send({kind: "show", layer: name}), {"aria-pressed": String(name === show.data.shown), "data-layer": name})))
    tabs.hidden = layers.length < 2
    undo.hidden = save.hidden = !layers.includes("R")
    undo.disabled = !show.data.corrections
    save.disabled = !show.data.unsaved
    save.textContent = show.data.unsaved ? `save ${show.data.unsaved}` : "saved"
  }
  function drawSummary() {
    const lines = Object.entries(show.data.layers).map(([name, l]) => el("span", {"data-layer": name, class: name === show.data.shown ? "on" : ""},
      el("b", {}, name === "R" ? "corrected" : name), " " + l.summary))
    summary.replaceChildren(...lines, ...(show.data.differences ? [el("span", {class: "differences"}, show.data.differences)] : []))
    notes.replaceChildren(...layer().notes.map(n => el("p", {}, n)))
  }

  // Words

  let spans = []
  function drawWords() {
    const l = layer()
    spans = []
    words.replaceChildren(...l.segments.map(([start, end, who, first, count]) => {
      const said = el("p", {dir: "auto"})
      for (let i = first; i < first + count; i++) {
        const w = l.words[i], flag = w.flag
        said.append(w.space, spans[i] = el("span", {class: `w${flag & CHANGED ? " changed" : ""}${flag & GUESSED ? " guessed" : ""}${flag & DOUBTED ? " unsure" : ""}`, "data-i": i}, w.text))
      }
      if (!count) said.append(el("i", {}, "no words"))
      const name = el("button", {type: "button", class: "who", title: "play this segment", onclick: () => { player.play(start, end) }}, who ?? "no speaker")
      const line = el("div", {class: "said"}, name, el("small", {}, clock(start)), said)
      line.style.setProperty("--c", colourOf(who))
      return line
    }))
    if (!l.segments.length) words.append(el("i", {}, "no speech was detected"))
  }
  words.addEventListener("click", e => { const w = e.target.closest(".w"); if (w) choose("word", +w.dataset.i, true) })
  words.addEventListener("dblclick", e => { if (e.target.closest(".w")) form.querySelector("input")?.select() })

  // A word or a turn is chosen

  const chosenThing = () => show.chosen && layer()[show.chosen.kind === "word" ? "words" : "turns"][show.chosen.number]
  function choose(kind, number, play) {
    show.chosen = {kind, number, layer: show.data.shown}
    const {start, end} = chosenThing()
    if (start < show.from || end > show.to) { const span = show.to - show.from; view(start - span / 3, start - span / 3 + span) }
    player.at = start
    drawForm(); paint()
    if (play) player.play(start, end)
  }
  function describe(w) {
    return [`${w.start.toFixed(2)} to ${w.end.toFixed(2)} s`, figure(w.level, "dBFS", 1), figure(w.f0, "Hz F0"), figure(w.bright, "Hz centroid"),
      w.confidence == null ? null : `${Math.round(w.confidence * 100)} % confident`,
      w.speaker_confidence == null ? null : `speaker: ${Math.round(w.speaker_confidence * 100)} % confident`,
      w.others ? `${w.others} talks at the same time` : null, w.flag & GUESSED ? "time interpolated" : null].filter(Boolean).join(" · ")
  }
  const field = (name, attributes) => el("label", {}, name, el("input", {name, ...attributes}))
  const seconds = (name, value) => field(name, {type: "number", step: 0.01, min: 0, max: show.data.duration, value: value.toFixed(2)})
  function who(value) {
    const list = el("datalist", {id: `ecg-${show.data.id}`}, ...layer().speakers.map(p => el("option", {value: p.name})))
    return [field("speaker", {list: list.id, value: value ?? "", autocomplete: "off"}), list]
  }
  function drawForm() {
    for (const s of words.querySelectorAll(".chosen")) s.classList.remove("chosen")
    const thing = chosenThing(), span = show.picked
    form.hidden = !thing && !span
    if (form.hidden) return form.replaceChildren()
    const submit = (name, act, title) => el("button", {type: "submit", name: "act", value: act, title}, name)
    if (thing && show.chosen.kind === "word") {
      spans[show.chosen.number]?.classList.add("chosen")
      form.replaceChildren(el("p", {class: "about"}, el("b", {}, thing.text), " ", describe(thing)),
        field("word", {type: "text", value: thing.text, title: "a word, several words, or empty to delete it", autocomplete: "off"}),
        seconds("start", thing.start), seconds("end", thing.end), submit("correct", "word", "correct this word (Enter)"),
        el("span", {class: "rule"}), ...who(thing.who),
        submit("this word", "word-speaker", "set the speaker of this word"), submit("this segment", "segment-speaker", "set the speaker of this segment"),
        submit("everywhere", "rename", "rename this speaker everywhere"))
    } else if (thing) {
      form.replaceChildren(el("p", {class: "about"}, el("b", {}, thing.who), ` speaks ${thing.start.toFixed(2)} to ${thing.end.toFixed(2)} s`),
        seconds("start", thing.start), seconds("end", thing.end), ...who(thing.who), submit("correct", "turn", "correct this turn (Enter)"),
        submit("everywhere", "rename", "rename this speaker everywhere"), submit("remove", "no-turn", "remove this turn"))
    } else {
      form.replaceChildren(el("p", {class: "about"}, el("b", {}, "selection"), ` ${span[0].toFixed(2)} to ${span[1].toFixed(2)} s`),
        seconds("start", span[0]), seconds("end", span[1]), ...who(null), submit("add turn", "add-turn", "add a turn here (Enter)"),
        field("words", {type: "text", autocomplete: "off", name: "word"}), submit("add words", "add-words", "add words here"))
    }
  }
  form.addEventListener("submit", e => {
    e.preventDefault()
    const value = name => form.elements[name]?.value.trim() ?? "", act = e.submitter?.value ?? "word"
    const thing = chosenThing(), number = show.chosen?.number ?? null
    const segment = thing && show.chosen.kind === "word" ? layer().segments.find(s => s[3] <= number && number < s[3] + s[4]) : null
    send({kind: "correct", act, layer: show.data.shown, number, word: value("word"), start: +value("start"), end: +value("end"), speaker: value("speaker"),
      of: thing?.who ?? null, span: act === "segment-speaker" ? segment.slice(0, 2) : thing ? [thing.start, thing.end] : show.picked})
    words.focus({preventScroll: true})
  })

  // Time

  let width = 0, height = 0, place = {}
  const x = t => (t - show.from) / (show.to - show.from) * width
  const timeAt = px => show.from + px / Math.max(width, 1) * (show.to - show.from)
  function view(from, to) {
    const all = show.data.duration, span = clamp(to - from, Math.min(0.3, all), all)
    show.from = clamp(from, 0, all - span)
    show.to = show.from + span
    slide.hidden = span >= all - 1e-6
    slide.value = all > span ? Math.round(show.from / (all - span) * 1000) : 0
    paint()
  }
  function zoom(by, around = player.position) {
    const span = (show.to - show.from) / by, at = clamp(around, show.from, show.to)
    view(at - span * (at - show.from) / (show.to - show.from), at + span * (show.to - at) / (show.to - show.from))
  }
  function toSelection() { if (show.picked) view(...show.picked) }
  slide.addEventListener("input", () => { const span = show.to - show.from; view(slide.value / 1000 * (show.data.duration - span), slide.value / 1000 * (show.data.duration - span) + span) })
  track.addEventListener("wheel", e => {
    if (!e.ctrlKey && !e.metaKey && Math.abs(e.deltaX) <= Math.abs(e.deltaY)) return // the page scrolls
    e.preventDefault()
    if (e.ctrlKey || e.metaKey) zoom(Math.exp(-e.deltaY / 200), timeAt(e.offsetX))
    else { const by = e.deltaX / width * (show.to - show.from); view(show.from + by, show.to + by) }
  }, {passive: false})

  // Select with the pointer, or go to where it is

  let drag = null
  const pointed = e => clamp(timeAt(e.clientX - track.getBoundingClientRect().left), 0, show.data.duration)
  track.addEventListener("pointerdown", e => {
    if (e.button || e.target.closest(".turn")) return
    track.focus({preventScroll: true})
    track.setPointerCapture(e.pointerId)
    drag = {at: pointed(e), x: e.clientX}
  })
  track.addEventListener("pointermove", e => {
    if (!drag || Math.abs(e.clientX - drag.x) < 4) return
    show.picked = [Math.min(drag.at, pointed(e)), Math.max(drag.at, pointed(e))]
    paint()
  })
  track.addEventListener("pointerup", e => {
    if (!drag) return
    const dragged = Math.abs(e.clientX - drag.x) >= 4
    if (!dragged) { show.picked = null; go(drag.at) }
    drag = null
    show.chosen = null
    drawForm(); paint()
    if (dragged) player.play(...show.picked)
  })
  track.addEventListener("pointercancel", () => { drag = null })
  lanes.addEventListener("click", e => {
    const turn = e.target.closest(".turn")
    if (!turn) return
    show.picked = null
    if (turn.dataset.layer === show.data.shown) choose("turn", +turn.dataset.i, true)
    else send({kind: "show", layer: turn.dataset.layer})
  })
  function go(t) {
    const on = player.playing
    player.stop()
    player.at = clamp(t, 0, show.data.duration)
    frame()
    if (on) player.play(player.at)
  }
  function toggle() {
    if (player.playing) { player.stop(); return tellPlay() }
    if (show.picked) return player.play(...show.picked)
    player.play(player.at >= show.data.duration - 0.05 ? 0 : player.at)
  }
  function tellPlay() {
    root.dataset.playing = player.playing
    playButton.textContent = player.playing ? "■" : "▶"
    playButton.setAttribute("aria-label", player.playing ? "Stop" : "Play")
  }
  let lit = []
  function frame() {
    const t = player.position
    now.textContent = clock(t, 2)
    head.style.left = `${x(t)}px`
    head.hidden = t < show.from || t > show.to
    track.setAttribute("aria-valuenow", t.toFixed(2))
    track.setAttribute("aria-valuemax", show.data.duration)
    for (const s of lit) s.classList.remove("lit")
    lit = player.playing ? layer().words.flatMap((w, i) => w.start <= t && t < w.end && spans[i] ? [spans[i]] : []) : []
    for (const s of lit) s.classList.add("lit")
    if (!player.playing) return
    if (t > show.to && show.to < show.data.duration) view(t, t + show.to - show.from)
    requestAnimationFrame(frame)
  }

  // Drawing: curves on a canvas; turns are elements, which can be clicked

  const ROW = 18
  function layout() {
    const rows = Object.values(show.data.layers).map(l => Math.max(l.speakers.length, 1))
    place = {}
    let top = 16
    place.axis = [0, 16]
    place.wave = [top, 60]; top += 64
    place.lanes = [top, rows.reduce((sum, n) => sum + n * ROW + 6, 0)]; top += place.lanes[1]
    place.word = [top, 16]; top += 20
    place.level = [top, 46]; top += 50
    place.f0 = [top, 60]; top += 60
    height = top
    track.style.height = `${height}px`
    labels.replaceChildren()
    const label = (at, size, text, colour) => {
      const made = el("div", {title: text}, text)
      made.style.cssText = `top:${at}px;height:${size}px;line-height:${Math.min(size, 16)}px${colour ? `;--c:${colour}` : ""}`
      if (colour) made.className = "voice"
      labels.append(made)
    }
    label(...place.wave, "waveform"); label(...place.level, "level, dBFS"); label(...place.f0, "F0, Hz")
    for (const [y, text] of marks()) {
      const made = el("div", {class: "mark"}, text)
      made.style.top = `${y - 7}px`
      labels.append(made)
    }
    let at = place.lanes[0]
    const several = Object.keys(show.data.layers).length > 1
    for (const [name, l] of Object.entries(show.data.layers)) {
      for (const p of l.speakers) { label(at, ROW, several ? `${name === "R" ? "✎" : name} ${p.name}` : p.name, p.colour); at += ROW }
      at += (l.speakers.length ? 0 : ROW) + 6
    }
    paint()
  }
  function drawLanes() {
    const made = []
    let at = place.lanes[0]
    for (const [name, l] of Object.entries(show.data.layers)) {
      const row = new Map(l.speakers.map((p, i) => [p.name, i]))
      l.turns.forEach((t, i) => {
        if (t.end < show.from || t.start > show.to) return
        const chosen = show.chosen?.kind === "turn" && show.chosen.layer === name && show.chosen.number === i
        const turn = el("div", {class: `turn${chosen ? " chosen" : ""}${name === show.data.shown ? "" : " aside"}`, "data-layer": name, "data-i": i,
          "data-who": t.who, title: `${t.who}, ${t.start.toFixed(2)} to ${t.end.toFixed(2)} s`})
        const left = Math.max(x(t.start), -2), right = Math.min(x(t.end), width + 2)
        turn.style.cssText = `left:${left}px;width:${Math.max(right - left, 1.5)}px;top:${at + (row.get(t.who) ?? 0) * ROW + 3}px;height:${ROW - 6}px;background:${l.speakers[row.get(t.who)]?.colour ?? NOBODY}`
        made.push(turn)
      })
      at += Math.max(l.speakers.length, 1) * ROW + 6
    }
    for (const [start, end] of show.data.moved) { // where the two settings differ
      if (end < show.from || start > show.to) continue
      const span = el("div", {class: "moved", title: `different speakers, ${start.toFixed(2)} to ${end.toFixed(2)} s`})
      span.style.cssText = `left:${x(start)}px;width:${Math.max(x(end) - x(start), 1.5)}px;top:${place.lanes[0] - 2}px;height:${place.lanes[1] - 2}px`
      made.unshift(span)
    }
    lanes.replaceChildren(...made)
    const span = show.picked ?? (chosenThing() ? [chosenThing().start, chosenThing().end] : null)
    marked.hidden = !span
    if (span) { marked.style.left = `${x(span[0])}px`; marked.style.width = `${Math.max(x(span[1]) - x(span[0]), 1)}px` }
  }
  let asked = 0
  function paint() { asked ||= requestAnimationFrame(() => { asked = 0; paintNow() }) }
  function paintNow() {
    if (!width || !height) return
    drawLanes()
    const ratio = devicePixelRatio || 1, style = getComputedStyle(root), g = canvas.getContext("2d")
    const ink = style.getPropertyValue("--ink").trim(), muted = style.getPropertyValue("--muted").trim(), rule = style.getPropertyValue("--line").trim()
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); canvas.style.height = `${height}px`
    }
    g.setTransform(ratio, 0, 0, ratio, 0, 0)
    g.clearRect(0, 0, width, height)
    g.font = "11px sans-serif"
    paintAxis(g, muted, rule)
    if (show.lanes) { paintWave(g, muted); paintCurves(g, ink, rule) }
    paintText(g, ink)
    frame()
  }
  function paintAxis(g, muted, rule) {
    const span = show.to - show.from, step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600].find(s => s / span * width >= 70) ?? 7200
    g.fillStyle = muted
    g.strokeStyle = rule
    g.beginPath()
    for (let t = Math.ceil(show.from / step) * step; t <= show.to + 1e-9; t += step) {
      const at = Math.round(x(t)) + 0.5
      g.moveTo(at, 14); g.lineTo(at, height)
      g.textAlign = at < 20 ? "left" : at > width - 24 ? "right" : "center"
      g.fillText(clock(t, step < 0.1 ? 2 : step < 1 ? 1 : 0), at, 10)
    }
    g.stroke()
    g.textAlign = "left"
  }
  const bins = i => { // bins of a pixel column
    const n = show.lanes.level.length, from = Math.floor(timeAt(i) / show.lanes.step), to = Math.max(from + 1, Math.floor(timeAt(i + 1) / show.lanes.step))
    return [clamp(from, 0, n), clamp(to, 0, n)]
  }
  function paintWave(g, muted) {
    const [top, size] = place.wave, middle = top + size / 2
    g.fillStyle = muted
    for (let i = 0; i < width; i++) {
      const [a, b] = bins(i)
      let low = 127, high = -127
      for (let k = a; k < b; k++) { low = Math.min(low, show.lanes.wave[2 * k]); high = Math.max(high, show.lanes.wave[2 * k + 1]) }
      if (high >= low) g.fillRect(i, middle - high / 127 * size / 2, 1, Math.max((high - low) / 127 * size / 2, 0.6))
    }
  }
  function levels(a, b) {
    let power = 0, n = 0
    for (let k = a; k < b; k++) { n++; if (show.lanes.level[k]) power += 10 ** (((show.lanes.level[k] - 1) / 2.54 - 100) / 10) }
    return n && power > 0 ? 10 * Math.log10(power / n) : null
  }
  function pitches(a, b) {
    const voiced = []
    for (let k = a; k < b; k++) if (show.lanes.f0[k]) voiced.push(show.lanes.f0[k] / 10)
    return voiced.length ? voiced.sort((p, q) => p - q)[(voiced.length - 1) >> 1] : null
  }
  // Levels from -70 to 0 dBFS, F0 on a logarithmic axis over the recording's range
  const levelY = v => place.level[0] + place.level[1] - 2 - clamp((v + 70) / 70, 0, 1) * (place.level[1] - 4)
  function pitchY(f) {
    const [low, high] = show.pitch.map(Math.log)
    return place.f0[0] + place.f0[1] - 2 - clamp((Math.log(f) - low) / (high - low), 0, 1) * (place.f0[1] - 4)
  }
  function marks() { // where a value stands: y, text
    if (!show.lanes) return []
    const steps = show.pitch ? [50, 100, 200, 400].filter(f => f > show.pitch[0] * 1.05 && f < show.pitch[1] * 0.95) : []
    return [...[-20, -40].map(v => [levelY(v), `\u2212${-v}`]), ...steps.map(f => [pitchY(f), String(f)])]
  }
  function paintCurve(g, ink, valueOf, y, owner) {
    let last = null
    g.lineWidth = 1.4
    for (let i = 0; i < width; i++) {
      const v = valueOf(...bins(i))
      if (v != null) {
        g.strokeStyle = owner[i] >= 0 ? layer().speakers[owner[i]].colour : owner[i] === -2 ? ink : NOBODY
        g.beginPath()
        if (last != null) { g.moveTo(i - 1, y(last)); g.lineTo(i, y(v)) } else { g.moveTo(i - 0.7, y(v)); g.lineTo(i + 0.7, y(v)) }
        g.stroke()
      }
      last = v
    }
    g.lineWidth = 1
  }
  function paintCurves(g, ink, rule) {
    const owner = whoAt()
    g.strokeStyle = rule
    for (const [y] of marks()) { g.beginPath(); g.moveTo(0, y); g.lineTo(width, y); g.stroke() }
    paintCurve(g, ink, levels, levelY, owner)
    if (show.pitch) paintCurve(g, ink, pitches, pitchY, owner)
  }
  function whoAt() { // pixel column -> whose turn it is, -1: nobody's, -2: several
    const out = new Int16Array(Math.ceil(width)).fill(-1), row = new Map(layer().speakers.map((p, i) => [p.name, i]))
    for (const t of layer().turns) {
      if (t.end < show.from || t.start > show.to) continue
      const who = row.get(t.who), last = clamp(Math.ceil(x(t.end)), 0, out.length)
      for (let i = clamp(Math.floor(x(t.start)), 0, out.length); i < last; i++) out[i] = out[i] === -1 || out[i] === who ? who : -2
    }
    return out
  }
  function paintText(g, ink) { // words where there is room
    let free = -1
    g.fillStyle = ink
    for (const w of layer().words) {
      if (w.end < show.from || w.start > show.to) continue
      const at = x(w.start), size = g.measureText(w.text).width
      if (at < free || at + size > width + 2) continue
      g.fillText(w.text, at, place.word[0] + 12)
      free = at + size + 5
    }
  }

  // Settings as code

  function drawTexts() {
    const open = texts.open
    texts.replaceChildren(el("summary", {}, "settings as Python code, as a section of settings.ini, and as a papermill job"),
      ...Object.entries(show.data.snippets).map(([name, text]) => {
        const pre = el("pre", {"data-name": name, tabindex: 0}, text)
        const copy = button("copy", `copy ${name}`, async () => {
          try { await navigator.clipboard.writeText(text); copy.textContent = "copied" }
          catch { getSelection().selectAllChildren(pre); copy.textContent = "selected: press Ctrl+C" } // pages without https may not write
          setTimeout(() => { copy.textContent = "copy" }, 2000)
        })
        return el("figure", {}, el("figcaption", {}, name, " ", copy), pre)
      }))
    texts.open = open
  }

  // Keys

  root.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    e.stopPropagation() // JupyterLab's single keys would act on the cell
    if (e.target.matches("input, select, textarea")) return
    const n = layer().words.length, at = show.chosen?.kind === "word" ? show.chosen.number : null
    const step = by => { if (n) choose("word", clamp(at == null ? layer().words.findIndex(w => w.end > player.position) : at + by, 0, n - 1), true) }
    const does = {" ": () => e.target.matches("button, summary") || (toggle(), true), ArrowRight: () => (step(1), true), ArrowLeft: () => (step(-1), true),
      Enter: () => at != null && !e.target.matches("button, summary") && (form.querySelector("input")?.select(), true),
      Escape: () => { show.picked = show.chosen = null; player.stop(); tellPlay(); drawForm(); paint(); return true },
      "+": () => (zoom(1.6), true), "-": () => (zoom(1 / 1.6), true)}[e.key]
    if (does && does() === true) e.preventDefault()
  })

  // A saved notebook has a picture in place of this view; hide the picture while the view lives

  root.append(el("style", {}, `.ecg-picture-${show.data.id} { display: none !important; }`))

  const sizes = new ResizeObserver(() => { width = track.clientWidth; paint() })
  sizes.observe(track)
  model.on("change:data", take)
  model.on("change:lanes", takeLanes)
  model.on("change:status", tellStatus)
  show.to = show.data.duration
  takeLanes(); take(); tellStatus(); tellPlay()
  view(0, show.data.duration)
  root.dataset.ready = "true"
  return () => {
    for (const [event, f] of [["change:data", take], ["change:lanes", takeLanes], ["change:status", tellStatus]]) model.off(event, f)
    sizes.disconnect(); player.close()
    cancelAnimationFrame(asked)
  }
}

export default {render}
