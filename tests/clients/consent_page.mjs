// A real browser (Debian's chromium) without a mouse: a person signs in and decides about a program by keyboard only.
//
// Reads from standard input {"module", "profile", "viewport", "open", "port", "steps": [...]} and prints one JSON
// object: what a person sees after each step, the tree of names that a screen reader is given, and what came to the
// program's own address at `port`. Steps: {"keys": [[name of a field or button, text to type or null]], "shot": file};
// the last name of `keys` is pressed with Enter.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const plan = JSON.parse(await new Response(process.stdin).text());
const { chromium } = createRequire(plan.module)("playwright-core");

const came = [];
const program = createServer((request, response) => {
  came.push(request.url);
  response.end("back at the program");
});
if (plan.port) await new Promise((ready) => program.listen(plan.port, "127.0.0.1", ready));

const context = await chromium.launchPersistentContext(plan.profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  viewport: plan.viewport,
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(20_000);
const complaints = [];
page.on("console", (message) => complaints.push(message.text()));
page.on("dialog", (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });

// What has the focus, by the name that a screen reader says.
const focused = () => page.evaluate(() => {
  const it = document.activeElement;
  return (it.labels?.[0]?.innerText ?? it.innerText ?? "").trim();
});

async function reach(name) {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    if ((await focused()) === name) return;
  }
  throw new Error(`no way to ${name} by keyboard on ${page.url()}`);
}

async function look(shot) {
  await page.waitForLoadState("load");
  if (shot) await page.screenshot({ path: shot, fullPage: true });
  const [width, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  const text = await page.locator("body").innerText();
  const names = await page.locator("body").ariaSnapshot();
  return { url: page.url(), text, html: await page.content(), names, scrolls: width > shown };
}

async function take(step) {
  for (const [place, [name, typed]] of step.keys.entries()) {
    await reach(name);
    if (typed !== null) await page.keyboard.type(typed);
    if (place === step.keys.length - 1) {
      await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    }
  }
  return look(step.shot);
}

const seen = [];
try {
  await page.goto(plan.open);
  seen.push(await look(plan.shot));
  for (const step of plan.steps) seen.push(await take(step));
} finally {
  await context.close();
  program.close();
}
console.log(JSON.stringify({ seen, came, complaints }));
