// The confirm page: everything that a link brings is shown, nothing of it is markup, and the button stays on this
// server.

#include "guard/confirm.hpp"
#include "call/text.hpp"

#include <openssl/evp.h>

#include <initializer_list>

#include "check.hpp"

using namespace owt;
using std::string;
using std::string_view;
using namespace std::literals;

namespace {

void expect_part(string_view page, string_view part) {
    expect(page.find(part) != string_view::npos, part, page);
}

void expect_no_part(string_view page, string_view part) {
    expect(page.find(part) == string_view::npos, part, page);
}

size_t count(string_view text, string_view part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != string_view::npos; at = text.find(part, at + 1)) {
        ++n;
    }
    return n;
}

string page_of(const Params& params, string_view query = "", string_view path = "/hello") {
    string target = string(path) + "?" + string(query);
    return confirm_page({.params = params, .path = path, .query = query, .target = target});
}

string page_of_code(string_view code) {
    Params params;
    params.code = code;
    return page_of(params);
}

// What the code's block holds.
string shown(string_view code) {
    string page = page_of_code(code);
    size_t begin = page.find("<pre>\n") + 6;
    return page.substr(begin, page.find("</pre>", begin) - begin);
}

string between(string_view text, string_view begin, string_view end) {
    size_t from = text.find(begin) + begin.size();
    return string(text.substr(from, text.find(end, from) - from));
}

void page_test(void**) {
    Params params;
    params.code = "def run(request, name):\n    return 'Hello, ' + name\n";
    params.kwargs = "{'name': \"<b>\"}";
    string page = page_of(params, "code_b64=eA==&kwargs_b64=eA==");
    expect_part(page, "<!DOCTYPE html>");
    expect_part(page, "<meta charset=\"utf-8\">");
    expect_part(page, "This link asks to run the following Python on this machine, at <code>/hello</code>.");
    expect_part(page, "<pre>\ndef run(request, name):\n    return &#39;Hello, &#39; + name\n</pre>");
    expect_part(page, "<pre>\n{&#39;name&#39;: &quot;&lt;b&gt;&quot;}</pre>");
    expect_part(page, "<noscript>");
    expect_no_part(page, "<h2>Function</h2>");
    expect_no_part(page, "<h2>Further fields</h2>");
    assert_true(is_utf8(page));
    params.fn_name = "<other>";
    expect_part(page_of(params), "<pre>\n&lt;other&gt;</pre>");
    expect_part(page_of(params, "", "/<i>"), "<code>/&lt;i&gt;</code>");
    params = {};
    params.code_id = string(64, 'a');
    expect_part(page_of(params), "<pre>\nsha256:" + params.code_id + "</pre>");
}

// The code may read what it is not given as an argument.
void fields_test(void**) {
    Params params;
    params.code = "run = lambda request: eval(request.args['x'])";
    string page = page_of(params, "code_b64=eA&&x=%5f%5Fimport__('os')+1&y&c%6Fde=2&code=3&%zz=%4&use_cache=1");
    expect_part(page, "<pre>\nx = __import__(&#39;os&#39;) 1</pre>");
    expect_part(page, "<pre>\ny = </pre>");
    expect_part(page, "<pre>\ncode = 3</pre>");  // the first is the one that is shown above
    expect_part(page, "<pre>\n%zz = %4</pre>");
    expect_part(page, "<pre>\nuse_cache = 1</pre>");
    expect_no_part(page, "code_b64 = ");
}

void escape_test(void**) {
    // Tags of the page itself are not made more by anything that is shown.
    Params plain;
    plain.code = plain.fn_name = "x";
    plain.kwargs = "x";
    Params wild = plain;
    string attack = "</pre></title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    wild.code = wild.fn_name = attack;
    wild.kwargs = attack;
    string before = page_of(plain, "a=x", "/x");
    string after = page_of(wild, "a=" + attack, "/" + attack);
    for (string_view mark : {"<", ">", "\"", "'"}) {
        size_t more = count(after, mark) - count(before, mark);
        expect(more == 0, mark, std::to_string(more) + " more");
    }
}

void odd_test(void**) {
    struct Case {
        string_view code, want;
    };
    for (auto [code, want] : std::initializer_list<Case>{
             {"a\tb\nc", "a\tb\nc"},
             {"\n\na", "\n\na"},
             {"a\r\nb\rc\r", "a\nb\nc\n"},
             {"'\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80'", "&#39;\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80&#39;"},
             {"\xE2\x80\xAE", "<span class=\"odd\">U+202E</span>"},
             {"\xE2\x81\xA6", "<span class=\"odd\">U+2066</span>"},
             {"\xE2\x80\x8B", "<span class=\"odd\">U+200B</span>"},
             {"\xEF\xBB\xBF", "<span class=\"odd\">U+FEFF</span>"},
             {"\xEF\xB8\x80", "<span class=\"odd\">U+FE00</span>"},
             {"\xF3\xA0\x84\x80", "<span class=\"odd\">U+0E0100</span>"},
             {"\f", "<span class=\"odd\">U+000C</span>"},
             {"\x1B[2K", "<span class=\"odd\">U+001B</span>[2K"},
             {"\0"sv, "<span class=\"odd\">U+0000</span>"},
             {"\xC2\x85", "<span class=\"odd\">U+0085</span>"},
             {"\xEF\xBF\xBD", "\xEF\xBF\xBD"},
             {"\xFF", "\xEF\xBF\xBD"},
             {"\xC3", "\xEF\xBF\xBD"},
             {"\xE2\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},
             {"\xC3<", "\xEF\xBF\xBD&lt;"},
         }) {
        expect(shown(code) == want, code, shown(code));
    }
}

// Code is UTF-8 and read as that, whatever it says of itself: what is shown is what runs.
void encoding_test(void**) {
    for (string_view code : {"# coding: utf-7\n", "# -*- coding: latin-1 -*-", "#!/usr/bin/python3\n#coding=nope"}) {
        string page = page_of_code(code);
        expect_part(page, code);
        expect_part(page, "data-href=");
    }
}

void reference_test(void**) {
    struct Case {
        string_view target, want;
    };
    for (auto [target, want] : std::initializer_list<Case>{
             {"/", "/"},
             {"/a?b=c&d=%20+e#f", "/a?b=c&amp;d=%20+e#f"},
             {"//evil.example/x", "/.//evil.example/x"},
             {"///evil.example/x", "/.///evil.example/x"},
             {"/\\evil.example", "/%5Cevil.example"},
             {"\\\\evil.example", "/%5C%5Cevil.example"},
             {"/\t/evil.example", "/%09/evil.example"},
             {"/\n/evil.example", "/%0A/evil.example"},
             {"", "/"},
             {"*", "/*"},
             {"http://evil.example/", "/http://evil.example/"},
             {"javascript:alert(1)", "/javascript:alert(1)"},
             {"?a", "/?a"},
             {"/\"onclick='x'<>`", "/%22onclick=%27x%27%3C%3E%60"},
             {"/\xC3\xA4\x7F\0"sv, "/%C3%A4%7F%00"},
         }) {
        expect(same_origin_reference(target) == want, target, same_origin_reference(target));
    }
}

void button_test(void**) {
    Params params;
    params.code = "x";
    string page = confirm_page({.params = params, .path = "/", .query = "a=\"b\"", .target = "//e?a=\"b\""});
    // Inert until the script has waited.
    expect_part(page, "<a class=\"run\" role=\"link\" aria-disabled=\"true\" data-href=\"/.//e?a=%22b%22\">Run</a>");
    expect_no_part(page, " href=");
    expect_part(page, ".run[aria-disabled] { opacity: .35; pointer-events: none; }");
    // A second of focus without a click, a key or a change of the focus.
    expect_part(
        page,
        "ticks = document.hasFocus() && !document.hidden ? ticks + 1 : 0;\n    if (ticks > 10) live();\n  }, 100);");
    for (const char* event : {"'focus'", "'blur'", "'pageshow'"}) {
        expect_part(page, "addEventListener(" + std::string(event) + ", wait)");
    }
    // A click that comes too early does not lay it dead.
    expect_part(page, "run.hasAttribute('href') ? setTimeout(rest) : wait()");
    assert_int_equal(count(page, "<script"), 1);
    // What a link's fragment could bring into view.
    expect_no_part(page, " id=");
    expect_no_part(page, " name=\"r");
}

string header(string_view name) {
    for (auto [known, value] : confirm_headers()) {
        if (known == name) {
            return string(value);
        }
    }
    return "";
}

string source(string_view text) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr);
    unsigned char base64[2 * EVP_MAX_MD_SIZE];
    int length = EVP_EncodeBlock(base64, digest, int(size));
    return "'sha256-" + string(base64, base64 + length) + "'";
}

void headers_test(void**) {
    string policy = header("Content-Security-Policy");
    for (string_view part : {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}) {
        expect_part(policy, part);
    }
    string page = page_of_code("x");
    expect_part(policy, "script-src " + source(between(page, "<script>", "</script>")) + ";");
    expect_part(policy, "style-src " + source(between(page, "<style>", "</style>")) + ";");
    expect_no_part(policy, "unsafe");
    expect_no_part(page, "style=");
    assert_string_equal(header("Content-Type").c_str(), "text/html; charset=utf-8");
    assert_string_equal(header("X-Frame-Options").c_str(), "DENY");
    assert_string_equal(header("Document-Policy").c_str(), "force-load-at-top");
    assert_string_equal(header("Referrer-Policy").c_str(), "same-origin");
    assert_string_equal(header("Cache-Control").c_str(), "no-store");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(page_test),   cmocka_unit_test(fields_test),   cmocka_unit_test(escape_test),
        cmocka_unit_test(odd_test),    cmocka_unit_test(encoding_test), cmocka_unit_test(reference_test),
        cmocka_unit_test(button_test), cmocka_unit_test(headers_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
