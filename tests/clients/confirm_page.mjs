// A real browser (Debian's chromium) on the pages of pending confirmations, by keyboard only.
//
// Reads from standard input {"module", "profile", "viewport", "url", "steps": [...]} and prints one JSON object: for
// each step the address, the text, the accessible tree and what has the focus.
// Steps: {"open": path} {"signIn": {tenant, email, password}} {"press": [keys]} {"reach": name of a button}
// {"shot": file} {"frame": path}: the page of another origin that shows ours in a frame
import { createRequire } from "node:module";

const plan = JSON.parse(await new Response(process.stdin).text());
const { chromium } = createRequire(plan.module)("playwright-core");

const context = await chromium.launchPersistentContext(plan.profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  javaScriptEnabled: false,
  viewport: plan.viewport,
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(20_000);
const complaints = [];
page.on("console", (message) => complaints.push(message.text()));

const focused = async () => (await page.locator(":focus").count()) ? (await page.locator(":focus").innerText()) : "";

async function take(step) {
  if (step.open) await page.goto(plan.url + step.open);
  if (step.frame) {
    await page.goto(`data:text/html,<title>win</title><iframe title="prize" src="${plan.url}${step.frame}" width=300 height=300></iframe>`);
    const framed = page.frames().at(-1);
    await framed.waitForLoadState("load").catch(() => {});
    return { url: page.url(), framed: framed.url(), inside: await framed.content().catch(() => "") };
  }
  if (step.signIn) {
    for (const [field, text] of Object.entries(step.signIn)) await page.fill(`#${field}`, text);
    await page.locator("#password").press("Enter");
  }
  if (step.reach) {
    let presses = 0;
    while ((await focused()) !== step.reach) {
      if (++presses > 20) throw new Error(`Tab never reaches ${step.reach}`);
      await page.keyboard.press("Tab");
    }
  }
  for (const key of step.press ?? []) await page.keyboard.press(key);
  await page.waitForLoadState("load");
  if (step.shot) await page.screenshot({ path: step.shot, fullPage: true });
  const values = [];
  for (const value of (await page.locator(".values dd").all()).slice(0, 40)) values.push(await value.boundingBox());
  const box = page.viewportSize();
  const width = await page.locator("html").evaluate((html) => html.scrollWidth).catch(() => box.width);
  return {
    url: page.url(), text: await page.locator("body").innerText(), html: await page.content(),
    tree: await page.locator("body").ariaSnapshot(), focus: await focused(), scrolls: width > box.width, values,
  };
}

const seen = [];
try {
  for (const step of plan.steps) seen.push(await take(step));
} finally {
  await context.close();
}
console.log(JSON.stringify({ seen, complaints }));
