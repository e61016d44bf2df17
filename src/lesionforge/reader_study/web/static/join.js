// Signing in: the invitation stands after # in the link, which browsers keep to themselves.

import { post } from "./server.js";

const form = document.getElementById("join");
const typed = document.getElementById("invitation");
const problem = document.getElementById("problem");

typed.value = decodeURIComponent(location.hash.slice(1)).slice(0, 64);
history.replaceState(null, "", location.pathname); // not to be found in the history
(typed.value ? form.querySelector("button") : typed).focus();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    location.assign((await post("/api/join", { invitation: typed.value })).page);
  } catch (error) {
    problem.textContent = error.message;
    button.disabled = false;
    typed.focus();
  }
});
