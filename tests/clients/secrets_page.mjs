// A real browser (Debian's chromium) on the gateway's own pages, driven by a list of steps.
//
// Reads from standard input {"module", "profile", "javascript", "viewport", "url", "steps": [...]} and prints one
// JSON object: for each step what a person sees then, and every response of the session with its headers and body.
// Steps: {"open": path} {"signIn": {tenant, email, password}} {"store": name, "value": text} {"forget": name}
// {"signOut": true} {"shot": file}
import { createRequire } from "node:module";

const plan = JSON.parse(await new Response(process.stdin).text());
const { chromium } = createRequire(plan.module)("playwright-core");

const context = await chromium.launchPersistentContext(plan.profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  javaScriptEnabled: plan.javascript,
  viewport: plan.viewport,
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(20_000);

const responses = [], complaints = [], pending = [];
page.on("console", (message) => complaints.push(message.text()));
page.on("response", (response) => pending.push((async () => {
  const body = await response.text().catch(() => ""); // a redirect has none that a browser keeps
  const headers = (await response.headersArray()).map(({ name, value }) => `${name}: ${value}`).join("\n");
  responses.push({ url: response.url(), status: response.status(), headers, body });
})()));

const card = (name) => page.locator(`#${name}`);

async function take(step) {
  if (step.open) await page.goto(plan.url + step.open);
  if (step.signIn) {
    for (const [field, text] of Object.entries(step.signIn)) await page.fill(`#${field}`, text);
    await page.click("main button");
  }
  if (step.store) {
    await card(step.store).locator("input[type=password]").fill(step.value);
    await card(step.store).locator("button", { hasText: /^(Store|Replace)$/ }).click();
  }
  if (step.forget) {
    await card(step.forget).locator("summary").click();
    await card(step.forget).locator("input[type=checkbox]").check();
    await card(step.forget).locator("button", { hasText: "Forget" }).click();
  }
  if (step.signOut) await page.click("header button");
  await page.waitForLoadState("load");
  if (step.shot) await page.screenshot({ path: step.shot, fullPage: true });
  const [width, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  const typed = await page.locator("input:not([type=hidden])").evaluateAll((all) => all.map((input) => input.value));
  const cookies = (await context.cookies()).map(({ value, ...rest }) => rest);
  const text = await page.locator("body").innerText();
  return { url: page.url(), text, html: await page.content(), typed, cookies, scrolls: width > shown };
}

const seen = [];
try {
  for (const step of plan.steps) seen.push(await take(step));
  await Promise.all(pending);
} finally {
  await context.close();
}
console.log(JSON.stringify({ seen, responses, complaints }));
