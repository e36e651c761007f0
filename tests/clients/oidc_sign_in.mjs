// A real browser (Debian's chromium) signs in at an identity provider and comes back to the gateway.
//
// Reads JSON {"module", "profile", "url", "begin", "login"} from standard input; prints what a person sees at the end.
import { createRequire } from "node:module";

const plan = JSON.parse(await new Response(process.stdin).text());
const { chromium } = createRequire(plan.module)("playwright-core");
const context = await chromium.launchPersistentContext(plan.profile, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(20_000);
try {
  await page.goto(plan.url + plan.begin);
  await page.fill("input[name=login]", plan.login);
  await page.fill("input[name=password]", "any password");
  await page.click("button[type=submit]");
  await page.waitForSelector("input[name=prompt][value=consent]", { state: "attached" });
  await page.click("button[type=submit]");
  await page.waitForSelector("#continue");
  const cookies = (await context.cookies(plan.url)).map(({ value, ...rest }) => rest);
  const between = { url: page.url(), text: await page.locator("body").innerText() };
  await page.click("#continue");
  await page.waitForLoadState("load");
  const text = await page.locator("body").innerText();
  console.log(JSON.stringify({ between, url: page.url(), text, cookies }));
} finally {
  await context.close();
}
