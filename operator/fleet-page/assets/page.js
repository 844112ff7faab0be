// Everything works without this: it renews the page while somebody looks, and adds buttons that copy.
"use strict";
(() => {
  const PERIOD_MS = 10000;

  const addCopyButtons = (root) => {
    if (!navigator.clipboard) return;
    for (const block of root.querySelectorAll("pre")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy: ${block.getAttribute("aria-label") || "text"}`);
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(block.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      const frame = document.createElement("div");
      frame.className = "frame";
      block.replaceWith(frame);
      frame.append(block, button);
    }
  };

  const isInUse = () => {
    const active = document.activeElement;
    return document.hidden || active?.matches("input, button, pre") || String(getSelection()) !== "";
  };

  const foldName = (fold) => fold.closest("section, li")?.querySelector("h2, h3")?.textContent + fold.querySelector("summary").textContent;

  const replace = (name, text) => {
    const before = document.querySelector(name);
    const after = new DOMParser().parseFromString(text, "text/html").querySelector(name);
    if (!before || !after || before.innerHTML === after.innerHTML) return;
    const open = new Map([...before.querySelectorAll("details")].map((fold) => [foldName(fold), fold.open]));
    for (const fold of after.querySelectorAll("details")) {
      fold.open = open.get(foldName(fold)) ?? fold.open;
    }
    const link = document.activeElement?.getAttribute("href");
    addCopyButtons(after);
    before.replaceWith(after);
    if (link) [...after.querySelectorAll("a")].find((other) => other.getAttribute("href") === link)?.focus();
  };

  let known = "";
  const renew = async () => {
    if (isInUse()) return;
    try {
      const answer = await fetch(location.href);
      if (!answer.ok) throw new Error(answer.statusText);
      const text = await answer.text();
      document.documentElement.classList.remove("unreachable");
      if (text === known) return;
      known = text;
      document.title = new DOMParser().parseFromString(text, "text/html").title;
      replace("header", text);
      replace("main", text);
    } catch {
      document.documentElement.classList.add("unreachable");
    }
  };

  addCopyButtons(document);
  setInterval(renew, PERIOD_MS);
  document.addEventListener("visibilitychange", renew);
})();
