// What a request asks for where something is published: which names there are, and that all fields are arguments.

#include "call/publication.hpp"

#include <string>

#include "call/fields.hpp"
#include "check.hpp"

using namespace owt;
using namespace std::literals;

namespace {

Publication publication(Publication::Kind kind, const char* path, const char* prefix, const char* function = "run") {
    Publication made;
    made.kind = kind;
    made.path = path;
    made.prefix = prefix;
    made.function = function;
    return made;
}

std::string text_of(const std::optional<Aim>& aim) {
    return aim ? aim->code_id + " " + aim->function + " " + aim->name : "none";
}

void names(void**) {
    for (std::string_view name : {"a", "speak", "sub/speak", "v1.2/a.b", "a-b_c", "A9", "0",
                                  "gr\xc3\xbc\xc3\x9f"
                                  "e"}) {
        expect(is_published_name(name), name);
    }
    const std::string_view none[] = {
        "",
        ".",
        "..",
        "/",
        "a/",
        "/a",
        "a//b",
        "_a",
        ".a",
        "a/_b",
        "a/.b",
        "a/../b",
        "a b",
        "a\0b"sv,
        "a\\b",
        "a%2e",
        "a:b",
        "a;b",
        "a?b",
        "a#b",
        "a*",
        "~a",
        "a\n",
        "a\x7f",
        "\xff",
        "a\xc0\xaf/b",
        "\xc0\xae\xc0\xae",
        "\xe0\x80\xae",
        "\xed\xa0\x80",
        "a\xc3",
        "a\tb",
        "a'b",
        "a\"b",
        "a<b",
        "$a",
        "a&b",
    };
    for (std::string_view name : none) {
        expect(!is_published_name(name), name);
    }
    assert_true(is_published_name(std::string(1024, 'a')));
    assert_false(is_published_name(std::string(1025, 'a')));
}

void below_a_directory(void**) {
    const Publication root = publication(Publication::Kind::root, "/srv/api", "/api/");
    struct {
        const char* uri;
        bool page;
        const char* want;
    } cases[] = {
        {"/api/speak", false, "/srv/api/speak.py run speak"},
        {"/api/sub/speak", false, "/srv/api/sub/speak.py run sub/speak"},
        {"/api/speak", true, "door form speak"},
        {"/api/", false, "door index "},
        {"/api/", true, "door index "},
        {"/api/openapi.json", false, "door description "},
        {"/api/../etc/passwd", false, "none"},
        {"/api/_speak", true, "none"},
        {"/api/speak/", false, "none"},
        {"/api//speak", false, "none"},
        {"/api", false, "none"},
        {"/other/speak", false, "none"},
        {"", false, "none"},
    };
    for (auto [uri, page, want] : cases) {
        std::string got = text_of(aim(root, uri, page));
        expect(got == want, uri, got);
    }
    const Publication bare = publication(Publication::Kind::root, "/", "/api");
    expect(text_of(aim(bare, "/api/a", false)) == "/a.py run a", "/api/a");
    expect(text_of(aim(bare, "/api", false)) == "door index ", "/api");
    expect(text_of(aim(bare, "/apis", false)) == "none", "/apis");
}

void others(void**) {
    const Publication file = publication(Publication::Kind::file, "/srv/tts.py", "/tts", "speak");
    expect(text_of(aim(file, "/tts", false)) == "/srv/tts.py speak ", "file");
    expect(text_of(aim(file, "/whatever", true)) == "door form ", "form");
    const Publication tools = publication(Publication::Kind::tools, "/srv/api", "/mcp");
    expect(text_of(aim(tools, "/mcp", true)) == "door tools ", "tools");
}

void pages(void**) {
    for (std::string_view accept : {"text/html", "text/html,*/*;q=0.8", "image/png, TEXT/HTML ;q=0.9"}) {
        expect(wants_page(accept), accept);
    }
    for (std::string_view accept : {"", "*/*", "text/*", "text/htmlx", "application/json", "x;a=text/html"}) {
        expect(!wants_page(accept), accept);
    }
}

Params chosen() {
    Params params;
    params.published = true;
    params.code_id = "/srv/a.py";
    params.fn_name = "speak";
    return params;
}

std::string text_of(const Params& params) {
    std::string text;
    for (const Field& field : params.fields) {
        text += field.name + "=" + field.value + (field.json ? "(json) " : " ");
    }
    text += "|";
    for (const Field& field : params.unused) {
        text += " " + field.name + "=" + field.value;
    }
    expect(params.published && params.code_id == "/srv/a.py" && params.fn_name == "speak", text, "another function");
    expect(params.code.empty() && !params.kwargs && !params.use_cache && !params.cache_key_override, text, "own");
    return text;
}

void fields(void**) {
    struct {
        Place place;
        const char* query;
        const char* body;
        const char* want;
    } cases[] = {
        {Place::nowhere, "", "", "|"},
        {Place::nowhere, "a=1&b=2", "c=3", "a=1 b=2 |"},
        {Place::urlencoded, "", "a=1&b=%20", "a=1 b=  |"},
        {Place::urlencoded, "a=1&b=2&b=4", "b=3", "b=3 a=1 |"},
        {Place::urlencoded, "a=1&a=2", "", "a=1 | a=2"},
        {Place::urlencoded, "", "a=1&a=2", "a=1 | a=2"},
        {Place::json, "a=1&b=2", R"({"b": [3], "c": "x"})", "b=[3](json) c=x a=1 |"},
        {Place::json, "a=1", R"({"a": null})", "| a=null"},
        {Place::json, "", R"({"code": "1", "fn_name": "x", "kwargs_b64": 1, "use_cache": true, "code_id": []})",
         "code=1 fn_name=x kwargs_b64=1(json) use_cache=true(json) code_id=[](json) |"},
        {Place::urlencoded, "code=1&cache_key_override=2", "code_b64=!&kwargs=x&use_cache=maybe&fn_name=&code_b64=2",
         "code_b64=! kwargs=x use_cache=maybe fn_name= code=1 cache_key_override=2 | code_b64=2"},
    };
    for (auto [place, query, body, want] : cases) {
        Params params = chosen();
        auto complaint = read_fields(place, query, body, params);
        expect(!complaint, body, complaint.value_or(""));
        std::string got = text_of(params);
        expect(got == want, body, got);
    }
    Params params = chosen();
    assert_false(read_fields({{"code", "1"}, {"a", "2"}, {"a", "3"}}, "b=4&a=5", params).has_value());
    expect(text_of(params) == "code=1 a=2 b=4 | a=3", "form", text_of(params));
}

void complaints(void**) {
    struct {
        Place place;
        const char* query;
        const char* body;
    } cases[] = {
        {Place::json, "", "{"},
        {Place::json, "", "[]"},
        {Place::urlencoded, "", "a=%ff"},
        {Place::nowhere, "a=%ff", ""},
    };
    for (auto [place, query, body] : cases) {
        Params params = chosen();
        auto complaint = read_fields(place, query, body, params);
        expect(complaint.has_value(), body, query);
        expect(complaint->find("code") == std::string::npos, body, *complaint);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(names),  cmocka_unit_test(below_a_directory),
                                cmocka_unit_test(others), cmocka_unit_test(pages),
                                cmocka_unit_test(fields), cmocka_unit_test(complaints)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
