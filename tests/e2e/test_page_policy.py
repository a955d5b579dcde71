"""The content security policy of the pages in a real browser: they violate nothing, and injected scripts do not run."""

from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.page_actions import add_file, answer, execute, new_page, picture
from tests.support.browser import TIMEOUT, draw, pad, wait_for_answer

COLLECT: Final = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile }) =>
    violations.push([effectiveDirective, blockedURI, sourceFile].join(" ")));
"""
INJECTED: Final = """
<script>window.ran = "a script";</script>
<img src="data:," onerror="window.ran = 'a handler'">
<script src="data:text/javascript,window.ran = 'a data URL'"></script>
</body>"""


@pytest.fixture
def console(page: Page) -> list[str]:
    """Messages in the console of `page` since it was loaded."""
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.add_init_script(COLLECT)
    page.reload()
    return messages


def test_nothing_on_the_page_violates_its_policy_or_leaves_its_origin(
    page: Page, page_url: str, console: list[str]
) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.reload()
    for mode in ("One digit", "Four boxes", "A line"):
        page.get_by_role("radio", name=mode).check()
        draw(pad(page), 3)
        wait_for_answer(page)
    page.locator("#tiles button").first.click()
    for action in ("drop", "paste"):
        page.get_by_role("button", name="Clear").click()
        add_file(page, action, picture(3))
        expect(page.locator("#answer")).to_have_text("3")
    page.get_by_role("radio", name="One digit").check()
    page.locator("#file").set_input_files(picture(5))
    expect(page.locator("#answer")).to_have_text("5")

    assert page.evaluate("violations") == []
    assert console == []
    hosts = {url.split("/")[2] for url in requested if not url.startswith(("data:", "blob:"))}
    assert hosts == {page_url.split("/")[2]}


def test_nothing_in_swagger_ui_violates_its_policy(browser: Browser, page_url: str) -> None:
    with new_page(browser) as page:
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.add_init_script(COLLECT)
        page.goto(f"{page_url}/docs")
        assert execute(page, "predict_batch").status == 200
        assert execute(page, "predict", picture(3)).json()["digit"] == 3
        closed = page.locator(".opblock:not(.is-open) .opblock-summary-control")
        for _ in range(closed.count()):
            closed.first.click()
        for model in page.locator(".models .model-box-control").all():
            model.click()

        assert page.evaluate("violations") == []
        assert messages == []


@pytest.mark.parametrize(("path", "ready"), [("/", "#model:not(:text-is('…'))"), ("/docs", ".opblock")])
@pytest.mark.parametrize("policy", ["as served", "in the header", "in the file", "none"])
def test_an_injected_script_does_not_run(browser: Browser, page_url: str, path: str, ready: str, policy: str) -> None:
    """Without the policy it does."""

    def inject(route: Route) -> None:
        response = route.fetch()
        headers = dict(response.headers)
        body = response.text().replace("</body>", INJECTED)
        if policy in ("in the file", "none"):
            del headers["content-security-policy"]
        if policy in ("in the header", "none"):
            body = body.replace("Content-Security-Policy", "")
        route.fulfill(response=response, headers=headers, body=body)

    with new_page(browser) as page:
        page.add_init_script(COLLECT)
        page.route(page_url + path, inject)
        page.goto(page_url + path)
        page.locator(ready).first.wait_for(timeout=TIMEOUT)

        if policy == "none":
            assert page.evaluate("window.ran")
        else:
            assert page.evaluate("window.ran === undefined")
            directives = {violation.split()[0] for violation in page.evaluate("violations")}
            assert directives == {"script-src-elem", "script-src-attr"}


def test_the_page_cannot_turn_text_into_code(page: Page, console: list[str]) -> None:
    draw(pad(page), 3)
    assert answer(page) == "3"

    outcome = page.evaluate("""() => {
        const node = document.createElement("div");
        const attempts = [() => document.body.append(node) ?? (node.innerHTML = "<b>3</b>"), () => setTimeout("1", 0)];
        return attempts.map((attempt) => { try { attempt(); return "done"; } catch { return "refused"; } });
    }""")

    assert outcome == ["refused", "refused"]


def test_the_page_cannot_be_shown_in_a_frame(browser: Browser, page_url: str) -> None:
    with new_page(browser) as page:
        frame = f'<iframe src="{page_url}/"></iframe>'
        page.route(f"{page_url}/frame", lambda route: route.fulfill(content_type="text/html", body=frame))
        with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            page.goto(f"{page_url}/frame")
        assert page.frame_locator("iframe").locator("#model").count() == 0
