// How a refusal is told: which form a client prefers, and what each form holds.

#include "call/problem.hpp"

#include <initializer_list>

#include "check.hpp"

using namespace owt;
using namespace std::literals;

namespace {

void expect_equal(std::string_view got, std::string_view want) {
    if (got != want) {
        fail_msg("%.*s\nwanted %.*s", int(got.size()), got.data(), int(want.size()), want.data());
    }
}

void prefers_json_test(void**) {
    for (std::string_view accept : {
             "application/json",
             "Application/JSON",
             "application/problem+json",
             "application/problem+json;charset=utf-8",
             "application/json; charset=\"a,b;q=0\"",
             "application/*",
             "application/json, */*;q=0.1",
             "application/json, text/plain;q=0.9",
             "text/plain;q=0.5, application/json;q=0.501",
             "application/json, text/*;q=0.5, */*;q=0.9",
             "application/json;q=0.001",
             "application/json ; Q=0.3 , text/plain ; q=0.2",
             "*/*, text/plain;q=0",
             "*/*;q=0.5, text/*;q=0.4",
             "*/*, text/plain;q=0.9, text/*",
             "text/html, application/json",
             ",,application/json,",
             "application/*;q=0, application/json",
             "*;q=.2, application/json;q=.3",
             "application/json;q=0.2, application/json",
             "text/plain;format=flowed, text/plain;q=0.4, application/json;q=0.5",
             "text/plain;q=x, application/json;q=0.1",
             "application/json;a=\"\\\"\";q=1",
         }) {
        if (!prefers_json(accept)) {
            fail_msg("prefers text: %.*s", int(accept.size()), accept.data());
        }
    }
    for (std::string_view accept : {
             "",
             "*/*",
             "*",
             " , ;,",
             "text/plain",
             "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
             "application/json, text/plain, */*",
             "application/json, text/plain",
             "application/json;q=0.5, text/plain;q=0.500",
             "application/json;q=0.5, text/*;q=0.6",
             "application/json;q=0.5, */*",
             "application/json;q=0",
             "application/json;q=0, */*",
             "application/json;q=0.0",
             "application/*;q=0.5, text/plain",
             "image/png",
             "application/jsonp",
             "xapplication/json",
             "application/xml",
             "application/json;q=x",
             "application/json;q=",
             "application/json;q=2",
             "application/json;q=1.5",
             "application/json;q=-1",
             "application/json;q=0.1234, text/plain;q=0.1",
             "text/plain, application/json;q=1;level=2",
             "\"application/json",
             "text/plain;x=\", application/json\"",
             "application / json",
             "text/plain;q=0.5;x=\",application/json,\"",
             "text/plain;q=0.5;x=\"\\\",application/json,\"",
         }) {
        if (prefers_json(accept)) {
            fail_msg("prefers JSON: %.*s", int(accept.size()), accept.data());
        }
    }
}

void prefers_html_test(void**) {
    for (std::string_view accept : {
             "text/html",
             "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
             "text/html, text/plain;q=0.9, application/json;q=0.9",
             "Text/HTML;charset=utf-8, */*;q=0.1",
             "text/html;q=0.002, */*;q=0.001",
         }) {
        if (!prefers_html(accept)) {
            fail_msg("does not prefer HTML: %.*s", int(accept.size()), accept.data());
        }
    }
    for (std::string_view accept : {
             "",
             "*/*",
             "text/*",
             "text/html, */*",
             "text/html, text/plain",
             "text/html, application/json",
             "text/html;q=0.9, application/*",
             "text/html;q=0",
             "text/html;q=x",
             "text/htmlx",
             "x=\",text/html,\"",
             "application/xhtml+xml",
         }) {
        if (prefers_html(accept)) {
            fail_msg("prefers HTML: %.*s", int(accept.size()), accept.data());
        }
    }
}

void reason_test(void**) {
    struct Case {
        int status;
        std::string_view reason;
    };
    for (auto [status, want] : std::initializer_list<Case>{
             {200, "OK"},
             {400, "Bad Request"},
             {401, "Unauthorized"},
             {403, "Forbidden"},
             {404, "Not Found"},
             {405, "Method Not Allowed"},
             {413, "Content Too Large"},
             {421, "Misdirected Request"},
             {500, "Internal Server Error"},
             {503, "Service Unavailable"},
             {504, "Gateway Timeout"},
             {299, "Error"},
             {0, "Error"},
             {-1, "Error"},
             {599, "Error"},
         }) {
        expect_equal(reason(status), want);
    }
}

void json_test(void**) {
    expect_equal(problem_json({404, "code-not-found", "Send the code."}),
                 "{\"type\": \"urn:owt:code-not-found\", \"title\": \"Not Found\", \"status\": 404, "
                 "\"detail\": \"Send the code.\"}\n");
    expect_equal(problem_json({503, "", ""}),
                 "{\"type\": \"about:blank\", \"title\": \"Service Unavailable\", \"status\": 503, "
                 "\"detail\": \"\"}\n");
    expect_equal(problem_json({400, "https://example.org/x", ""}),
                 "{\"type\": \"https://example.org/x\", \"title\": \"Bad Request\", \"status\": 400, "
                 "\"detail\": \"\"}\n");
}

void escape_test(void**) {
    struct Case {
        std::string_view detail, json;
    };
    for (auto [detail, want] : std::initializer_list<Case>{
             {"a\"b\\c/d", "a\\\"b\\\\c/d"},
             {"1\n2\r\t\x1F\x7F\0"sv, "1\\n2\\u000d\\t\\u001f\x7F\\u0000"},
             {"ä€😀", "ä€😀"},
             {"\xF4\x8F\xBF\xBF\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF\xEF\xBF\xBF"},
             {"\xFFx", "\uFFFDx"},
             {"\x80\xBF", "\uFFFD\uFFFD"},
             {"\xC3", "\uFFFD"},
             {"\xC3\"", "\uFFFD\\\""},
             {"\xC0\xAF", "\uFFFD\uFFFD"},
             {"\xC1\x81", "\uFFFD\uFFFD"},
             {"\xE0\x80\xAF", "\uFFFD\uFFFD\uFFFD"},
             {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
             {"\xF0\x80\x80\xAF", "\uFFFD\uFFFD\uFFFD\uFFFD"},
             {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
             {"\xF5", "\uFFFD"},
             {"\xE2\x82", "\uFFFD"},
             {"\xE2\x82z", "\uFFFDz"},
             {"\xF0\x9F\x98", "\uFFFD"},
             {"\xF0\x9F\x98ä", "\uFFFDä"},
         }) {
        std::string json = problem_json({500, "", std::string(detail)});
        expect_equal(std::string_view(json).substr(json.find("\"detail\"")),
                     "\"detail\": \"" + std::string(want) + "\"}\n");
    }
}

void text_test(void**) {
    for (std::string_view detail : {"a\n b", "a\n b\n", "a\n b\n\n\n", "a\n b\r\n"}) {
        expect_equal(problem_text({500, "", std::string(detail)}), "a\n b\n");
    }
    expect_equal(problem_text({500, "", ""}), "\n");
    expect_equal(problem_text({500, "", "\n\n"}), "\n");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(prefers_json_test), cmocka_unit_test(prefers_html_test), cmocka_unit_test(reason_test),
        cmocka_unit_test(json_test),         cmocka_unit_test(escape_test),       cmocka_unit_test(text_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
