// The pages work without this script: each dialog is a page of its own. With it
// the same pages are fetched and shown as native dialogs, secrets get copy
// buttons, and Delete wakes up once the name is typed.
"use strict";
(() => {
  const find = (selector, from = document) => from.querySelector(selector);
  const home = find("#apikeyui");
  if (!home || !window.fetch || !window.HTMLDialogElement) return;

  // The part of a page that this script may exchange.
  async function load(address, options) {
    const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", ...options });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = find("#apikeyui", page);
    return { answer, page, part: part && document.importNode(part, true) };
  }

  // An answer that is none of these pages, as after the end of a session, is for
  // the browser to show.
  function leave(loaded, address) {
    if (!loaded.part) location.assign(address);
    return !loaded.part;
  }

  // Forms and links in a fetched page are relative to where it came from.
  function rebase(part, address) {
    for (const [selector, name] of [["a[href]", "href"], ["form[action]", "action"]]) {
      for (const element of part.querySelectorAll(selector)) {
        element.setAttribute(name, new URL(element.getAttribute(name), address).href);
      }
    }
  }

  // What was done is also said to those who do not see it: a region that is
  // there before it speaks.
  const live = document.createElement("p");
  live.className = "unseen";
  live.setAttribute("role", "status");
  const speaker = document.createElement("div");
  speaker.className = "apikeyui";
  speaker.append(live);
  home.after(speaker);

  let dialog = null; // the open one
  let opener = ""; // id of the link that it was opened by
  let stale = false; // the page behind it is not what it was
  let sending = false; // a form was sent and is not answered
  let turn = 0; // counts what a person did: an answer to what was before comes too late
  const here = () => location.pathname + location.search;
  let shown = here(); // address of the page that is shown

  function frame() {
    dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "dialog-title");
    const box = dialog;
    // A secret that was not stored is not lost to a slip of the finger.
    for (const kind of ["cancel", "keydown"]) {
      box.addEventListener(kind, (event) => {
        // Nor is it left open what became of a form.
        if ((kind === "cancel" || event.key === "Escape") && (sending || find("[data-secret]", box))) event.preventDefault();
      });
    }
    box.addEventListener("close", () => {
      turn++;
      box.remove();
      if (dialog === box) dialog = null;
      if (stale || here() !== shown) renew(location.href, false);
      else focus();
    });
    home.append(box);
    box.showModal();
  }

  function fill(part, address) {
    const content = find("#dialog", part);
    if (!content) return false;
    rebase(content, address);
    turn++; // what was asked for before must not take the place of this
    if (!dialog) frame();
    dialog.replaceChildren(content);
    dialog.setAttribute("closedby", content.hasAttribute("data-secret") ? "none" : "closerequest");
    if (content.hasAttribute("data-stale")) stale = true;
    prepare(content);
    const first = find("[aria-invalid]", content) || find("#refusal", content) || find("input[type=text][required]", content);
    if (first && !content.hasAttribute("data-secret")) {
      if (first.id === "refusal") first.tabIndex = -1;
      first.focus();
    }
    else {
      const title = find("#dialog-title", content);
      title.tabIndex = -1;
      title.focus();
    }
    return true;
  }

  // What an address confirms is confirmed once.
  function confirmed(address) {
    if (address.searchParams.has("done")) {
      for (const name of ["done", "revision", "key"]) address.searchParams.delete(name);
    }
    return address;
  }

  // Shows a whole page in place of the present one, without loading it anew.
  function exchange(loaded, remember) {
    const open = dialog;
    dialog = null;
    stale = false;
    turn++;
    if (open) open.remove();
    const address = new URL(loaded.answer.url);
    rebase(loaded.part, address);
    home.replaceChildren(...loaded.part.childNodes);
    document.title = loaded.page.title;
    confirmed(address);
    if (!remember || address.pathname + address.search === here()) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    shown = here();
    prepare(home);
    const said = find("#notice, #dropped", home) || find("#found", home);
    live.textContent = said ? said.textContent : "";
    focus();
  }

  async function renew(address, remember) {
    const mine = ++turn;
    try {
      const loaded = await load(address);
      if (mine !== turn) stale = true;
      else if (!leave(loaded, address)) exchange(loaded, remember);
    } catch {
      if (mine === turn) location.assign(address);
    }
  }

  // Focus goes back to where it was, or to what tells what was done.
  function focus() {
    const target = document.getElementById(opener) || find("#notice", home) || find("h1", home);
    if (!target) return;
    if (!target.matches("a, button, input")) target.tabIndex = -1;
    target.focus();
  }

  function complain(form) {
    let fault = find(".fault[role=alert]", form);
    if (!fault) {
      fault = document.createElement("p");
      fault.className = "fault";
      fault.setAttribute("role", "alert");
      form.append(fault);
    }
    fault.textContent = home.dataset.failed;
    fault.tabIndex = -1;
    fault.focus();
  }

  // A step that began in the list ends there, on the same page and search, with
  // the notice of the page that it leads to otherwise.
  async function back(loaded) {
    const list = await load(location.href);
    const top = list.part && find("[data-list]", list.part);
    const notice = find("#notice", loaded.part);
    if (!top || !notice) return loaded;
    top.after(notice);
    return list;
  }

  async function submit(form, button) {
    // A second click finds the button asleep; should it get through, the server
    // does nothing twice.
    if (sending) return;
    sending = true;
    if (button) button.disabled = true;
    try {
      const body = new URLSearchParams(new FormData(form));
      const loaded = await load(form.action, { method: "POST", body });
      if (loaded.answer.redirected) {
        if (leave(loaded, loaded.answer.url)) return;
        exchange(dialog && find("[data-list]", home) ? await back(loaded).catch(() => loaded) : loaded, true);
      } else if (!loaded.part) {
        // The host answers with its login in place: to look shows it as well.
        if (!loaded.answer.ok && ![401, 403].includes(loaded.answer.status)) throw new Error("no page");
        location.assign(location.href);
        return;
      } else if (!dialog) exchange(loaded, false);
      else if (!fill(loaded.part, loaded.answer.url)) throw new Error("no dialog");
    } catch {
      stale = Boolean(dialog);
      if (button) button.disabled = false;
      complain(form);
    } finally {
      sending = false;
    }
  }

  async function test(form, button) {
    const result = find("#result", form);
    button.disabled = true;
    try {
      const body = new URLSearchParams(new FormData(form));
      const { part } = await load(form.action, { method: "POST", body });
      const found = find("#result", part) || find("#dialog p", part);
      result.textContent = found.textContent;
      result.className = found.className;
    } catch {
      result.textContent = home.dataset.failed;
      result.className = "warning";
    }
    button.disabled = false;
    button.focus();
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy);
    const [shown, label] = button.children;
    const said = find("#copied", home);
    let copied = true;
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(text);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      copied = document.execCommand("copy");
    }
    said.textContent = copied ? `${label.textContent}: ${home.dataset.copied}` : home.dataset.notCopied;
    said.className = copied ? "unseen" : "warning";
    if (!copied || shown.textContent === home.dataset.copied) return;
    const before = shown.textContent;
    shown.textContent = home.dataset.copied;
    setTimeout(() => { shown.textContent = before; }, 2000);
  }

  // What only makes sense with a script.
  function prepare(part) {
    for (const button of part.querySelectorAll("[data-copy]")) button.hidden = false;
    for (const form of part.querySelectorAll("form[data-name]")) {
      const button = find("button[type=submit]", form);
      const plain = (text) => text.replaceAll("\ufe0f", "").trim().split(/\s+/).join(" ");
      const wake = () => { button.disabled = plain(form.elements.typed.value) !== plain(form.dataset.name); };
      form.elements.typed.addEventListener("input", wake);
      wake();
    }
  }

  home.addEventListener("click", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const button = event.target.closest("[data-copy]");
    if (button) {
      copy(button);
      return;
    }
    const link = event.target.closest("a");
    if (!link) return;
    if (dialog && link.hasAttribute("data-cancel")) {
      event.preventDefault();
      if (!sending) dialog.close();
    } else if (dialog && link.hasAttribute("data-stored")) {
      event.preventDefault();
      renew(link.href, true);
    } else if (link.hasAttribute("data-dialog") && (dialog || !find("#dialog"))) {
      event.preventDefault();
      if (sending) return;
      if (!dialog) opener = link.id;
      const mine = ++turn;
      load(link.href).then(
        ({ answer, part }) => { if (mine === turn && !(part && fill(part, answer.url))) location.assign(link.href); },
        () => { if (mine === turn) location.assign(link.href); },
      );
    }
  });

  home.addEventListener("submit", (event) => {
    const form = event.target;
    event.preventDefault();
    if (!dialog) opener = "";
    if (form.dataset.test) test(form, event.submitter || find("button", form));
    else submit(form, event.submitter);
  });

  addEventListener("popstate", () => {
    if (here() === shown) return; // only the fragment is another
    opener = "";
    if (dialog && (sending || find("[data-secret]", dialog))) stale = true; // once it is stored
    else renew(location.href, false);
  });

  // What the browser keeps of a page that was left holds no secret.
  addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll("[data-secret] code, [data-secret] input")) secret.remove();
  });

  history.replaceState(history.state, "", confirmed(new URL(location.href)));
  shown = here();
  prepare(home);
})();
