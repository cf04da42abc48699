// The site's few lines: menu on a phone, light or dark, search, where one is on the page. Without it, all pages still read.
"use strict"
const root = document.documentElement, $ = s => document.querySelector(s)

const menu = $(".menu"), pages = $("#menu")
function open_menu(open) {
  pages.classList.toggle("open", open)
  document.body.classList.toggle("still", open)
  menu.setAttribute("aria-expanded", open)
  if (open) (pages.querySelector("[aria-current]") || pages.querySelector("a")).focus()
}
menu.onclick = () => open_menu(menu.getAttribute("aria-expanded") != "true")
pages.onclick = e => { if (e.target.closest("a")) open_menu(false) }
if (pages.scrollHeight > pages.clientHeight) { // the sidebar shows where one is, without moving the page
  const here = pages.querySelector("[aria-current]")
  if (here) pages.scrollTop = here.offsetTop - pages.clientHeight / 2
}

$(".theme").onclick = () => {
  const dark = root.dataset.theme ? root.dataset.theme == "dark" : matchMedia("(prefers-color-scheme: dark)").matches
  root.dataset.theme = dark ? "light" : "dark"
  try { localStorage.setItem("theme", root.dataset.theme) } catch (e) { /* storage is closed to a page on a disk */ }
}

const input = $(".search input"), found = $("#found"), status = $(".search .unseen")
let chosen = -1, loading
function load() { // a script and not a fetch, which a page on a disk may not do
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script")
    script.src = root.dataset.root + "search.js"
    script.onload = done
    script.onerror = failed
    document.head.append(script)
  })
  return loading
}
function score([page, part, , text, lang], words) {
  const [p, h, t] = [page, part, text].map(s => s.toLowerCase())
  let sum = 0
  for (const w of words) {
    const n = (h == w ? 40 : h.startsWith(w) ? 20 : h.includes(w) ? 10 : 0) + (p == w ? (part ? 4 : 30) : p.includes(w) ? (part ? 3 : 12) : 0) + (t.includes(w) ? 2 : 0)
    if (!n) return 0
    sum += n
  }
  return sum + (lang == root.lang ? 1 : 0)
}
function marked(text, words) { // text with the words in <mark>, as nodes: nothing of an index becomes markup
  const parts = words.length ? text.split(new RegExp("(" + words.map(w => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "i")) : [text]
  return parts.map((s, i) => i % 2 ? Object.assign(document.createElement("mark"), { textContent: s }) : s)
}
function snippet(text, words) {
  const at = Math.max(0, Math.min(...words.map(w => { const i = text.toLowerCase().indexOf(w); return i < 0 ? 1e9 : i })) % 1e9 - 50)
  return (at ? "…" : "") + text.slice(at, at + 150) + (text.length > at + 150 ? "…" : "")
}
function choose(i) {
  const all = [...found.children]
  chosen = all.length ? (i + all.length) % all.length : -1
  all.forEach((li, n) => li.setAttribute("aria-selected", n == chosen))
  if (chosen < 0) return input.removeAttribute("aria-activedescendant")
  input.setAttribute("aria-activedescendant", all[chosen].id)
  all[chosen].scrollIntoView({ block: "nearest" })
}
function close() { found.hidden = true; input.setAttribute("aria-expanded", false); choose(-1) }
async function search() {
  const asked = input.value, words = asked.toLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return close()
  await load()
  if (asked != input.value) return
  const hits = window.pages.map(p => [score(p, words), p]).filter(h => h[0]).sort((a, b) => b[0] - a[0]).slice(0, 15)
  found.replaceChildren(...hits.map(([, [page, part, url, text]], i) => {
    const li = Object.assign(document.createElement("li"), { id: "hit" + i }), a = document.createElement("a")
    const b = document.createElement("b"), small = document.createElement("small")
    li.setAttribute("role", "option")
    a.href = root.dataset.root + url
    a.tabIndex = -1
    b.append(...marked(part ? page + " › " + part : page, words))
    small.append(...marked(snippet(text, words), words))
    a.append(b, small)
    li.append(a)
    return li
  }))
  if (!hits.length) found.append(Object.assign(document.createElement("li"), { textContent: input.dataset.nothing, className: "none" }))
  status.textContent = hits.length ? input.dataset.results.replace("{}", hits.length) : input.dataset.nothing
  found.hidden = false
  input.setAttribute("aria-expanded", true)
  if (hits.length) choose(0)
}
input.onfocus = load
input.oninput = search
input.onkeydown = e => {
  if (e.key == "ArrowDown" || e.key == "ArrowUp") { e.preventDefault(); choose(chosen + (e.key == "ArrowDown" ? 1 : -1)) }
  else if (e.key == "Enter") found.children[chosen]?.querySelector("a")?.click()
  else if (e.key == "Escape") { close(); input.blur() }
}
document.addEventListener("keydown", e => {
  if (e.key == "Escape") open_menu(false)
  if (e.key == "/" && !e.ctrlKey && !e.metaKey && !/input|textarea|select/i.test(e.target.tagName)) { e.preventDefault(); input.focus() }
})
document.addEventListener("click", e => { if (!e.target.closest(".search")) close() ; else if (e.target.closest("#found a")) close() })

const links = new Map([...document.querySelectorAll(".here a")].map(a => [decodeURIComponent(a.hash.slice(1)), a]))
if (links.size) { // the part that is being read, in the list of this page's parts
  const heads = [...links.keys()].map(id => document.getElementById(id)).filter(Boolean)
  const now = () => {
    const past = heads.filter(h => h.getBoundingClientRect().top < 140)
    for (const a of links.values()) a.classList.remove("now")
    links.get((past.pop() || heads[0]).id).classList.add("now")
  }
  let waiting
  addEventListener("scroll", () => { waiting ||= requestAnimationFrame(() => { waiting = 0; now() }) }, { passive: true })
  now()
}
root.dataset.ready = ""
