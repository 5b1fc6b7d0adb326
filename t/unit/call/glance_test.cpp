// What the beginning of a large body names: what is there as a whole, wherever it ends; never a member of something
// else; nothing from what is no JSON.

#include "call/glance.hpp"

#include <string>

#include "call/sha256.hpp"
#include "check.hpp"

using namespace owt;

namespace {

const std::string one = sha256_hex("one");

void json(void**) {
    for (std::string_view body : {
             R"({"code": "one", "rest": [1, 2)",
             R"({"code": "one")",
             R"( { "a" : "b" , "code" : "one" , )",
             R"({"code":"one"})",
             "\xEF\xBB\xBF{\"code\": \"one\", ",
             R"({"code_b64": "b25l", "rest": "xxxx)",
             R"({"a": {"code": "no", "b": ["]}", {"c": "}"}]}, "b": [[], {}], "c": -1.5e3, "d": null, "code": "one", )",
             R"({"a": "\"code\": \"no\"", "b": "\\", "code": "one", )",
             R"({"code": "\u006fne", )",
             R"({"code": "", "code_b64": "b25l", )",
             R"({"code": "one", "code": "two")",
             R"({"code": "one", what comes behind it is not looked at)",
         }) {
        expect(glance_code_id(Place::json, body) == one, body);
    }
    const std::string by_id = R"({"code_id": "sha256:)" + one + R"(", "rest)";
    expect(glance_code_id(Place::json, by_id) == one, by_id);
    for (std::string_view body : {
             "",
             " ",
             "{",
             "{}",
             "[",
             R"(["code", "one"])",
             R"("code")",
             R"({"code)",
             R"({"code")",
             R"({"code":)",
             R"({"code": )",
             R"({"code": "one)",
             R"({"code": "one\)",
             R"({"code": "one\")",
             R"({"code": 1, "rest)",
             R"({"code": null, "rest)",
             R"({"code": ["one"], "rest)",
             R"({"code": {"code": "one"}, "rest)",
             R"({"codes": "one", "rest)",
             R"({"Code": "one", "rest)",
             R"({"a": ["code": "one", )",
             R"({"a": [1, {"b": "c", "code": "one", )",
             R"({code: "one", )",
             R"({"a" "b", "code": "one", )",
             R"({"a": "b" "code": "one", )",
             R"({"a": 1}, "code": "one", )",
             R"({"code_b64": "=", "rest)",
             R"({"code_id": "sha256:1", "rest)",
             R"({"code": "\ud800", "rest)",
             R"({"code": "\x", "rest)",
         }) {
        expect(glance_code_id(Place::json, body).empty(), body);
    }
}

void urlencoded(void**) {
    for (std::string_view body : {
             "code=one&rest=x",
             "a=b&code=one&",
             "a&&code=on%65&rest",
             "c%6Fde=one&rest",
             "code=&code_b64=b25l&rest",
             "code=one&code=two&rest",
         }) {
        expect(glance_code_id(Place::urlencoded, body) == one, body);
    }
    for (std::string_view body :
         {"", "&", "code", "code=one", "code=&", "codes=one&", "a=b&code=one", "code_b64==&rest"}) {
        expect(glance_code_id(Place::urlencoded, body).empty(), body);
    }
}

void elsewhere(void**) {
    for (Place place : {Place::query, Place::multipart, Place::nowhere}) {
        assert_true(glance_code_id(place, R"({"code": "one", )").empty());
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(json), cmocka_unit_test(urlencoded), cmocka_unit_test(elsewhere)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
