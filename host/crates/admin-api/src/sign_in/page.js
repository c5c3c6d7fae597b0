// Exchanges the one-time code of the link for a session, and shows how the host is.
"use strict";

const KEY = "rulemill-session";
const said = document.getElementById("said");
const end = document.getElementById("end");

async function call(method, path, body) {
  const headers = { "content-type": "application/json" };
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = "Bearer " + token;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  const value = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(value.message);
  return value;
}

async function start() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) {
    // The code must not stay in the history.
    history.replaceState(null, "", "/");
    sessionStorage.removeItem(KEY);
    const session = await call("POST", "/v1/sign-in", { code });
    sessionStorage.setItem(KEY, session.token);
  }
  if (!sessionStorage.getItem(KEY)) {
    said.textContent = "Not signed in: open the link that `rulemill serve` or `rulemill token sign-in` prints.";
    return;
  }
  const status = await call("GET", "/v1/status");
  said.textContent = "Signed in to " + status.node + ".";
  end.hidden = false;
  document.getElementById("status").textContent = JSON.stringify(status, null, 2);
}

end.addEventListener("click", async () => {
  await call("DELETE", "/v1/sign-in").catch(() => undefined);
  sessionStorage.removeItem(KEY);
  location.reload();
});

start().catch((error) => { said.textContent = error.message; });
