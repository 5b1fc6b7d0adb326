// The parameters of a request: a table of cases for each rule.

#include "call/params.hpp"
#include "call/base64.hpp"
#include "call/intake.hpp"
#include "call/json.hpp"
#include "call/locate.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "check.hpp"

using namespace owt;
using std::string;
using std::string_view;
using namespace std::literals;

namespace {

using Form = std::vector<std::pair<string, string>>;

void expect_equal(string_view got, string_view want, string_view tried) {
    if (got != want) {
        expect(false, tried, string(got) + "; wanted " + string(want));
    }
}

template <typename Read, typename Text>
Params accept(Read read, const Text& text, string_view tried) {
    Params params;
    Complaint complaint = read(text, params);
    expect(!complaint, tried, complaint.value_or(""));
    return params;
}

Params json(string_view text) {
    return accept(read_json, text, text);
}
Params encoded(string_view text) {
    return accept(read_urlencoded, text, text);
}
Params form(const Form& fields) {
    return accept(read_form, fields, "a form");
}

template <typename Read, typename Text>
void refuse(Read read, const Text& text, string_view tried, std::initializer_list<const char*> parts) {
    Params params;
    Complaint complaint = read(text, params);
    expect(complaint.has_value(), tried, "accepted");
    expect(is_utf8(*complaint), tried, "complaint is not UTF-8");
    for (const char* part : parts) {
        expect(complaint->find(part) != string::npos, tried, *complaint);
    }
}

void refuse_json(string_view text, std::initializer_list<const char*> parts) {
    refuse(read_json, text, text, parts);
}

void refuse_encoded(string_view text, std::initializer_list<const char*> parts) {
    refuse(read_urlencoded, text, text, parts);
}

// "name=value" for strings, "name:json" for JSON text, one space between.
string listed(const Params& params) {
    string out;
    for (const Field& field : params.fields) {
        out += (out.empty() ? "" : " ") + field.name + (field.json ? ":" : "=") + field.value;
    }
    return out;
}

string base64(string_view bytes) {
    const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        size_t rest = std::min<size_t>(bytes.size() - i, 3);
        unsigned bits = 0;
        for (size_t j = 0; j < 3; ++j) {
            bits = bits << 8 | (j < rest ? (unsigned char)(bytes[i + j]) : 0);
        }
        for (size_t j = 0; j < 4; ++j) {
            out += j <= rest ? alphabet[bits >> (18 - 6 * j) & 63] : '=';
        }
    }
    return out;
}

const string digits(64, 'a');

// ---- sha256_hex, is_utf8, decode_base64 ----

void sha256_test(void**) {
    // FIPS 180-4's examples.
    assert_string_equal(sha256_hex("").c_str(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (int i = 0; i < 2; ++i) {
        assert_string_equal(sha256_hex("abc").c_str(),
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    assert_string_equal(sha256_hex(string(1000000, 'a')).c_str(),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

void utf8_test(void**) {
    for (string_view good : {""sv, "a"sv, "\0"sv, "ä€😀"sv, "\xEF\xBB\xBF"sv, "\xF4\x8F\xBF\xBF"sv}) {
        expect(is_utf8(good), good);
    }
    for (string_view wrong :
         {"\x80"sv, "\xC3"sv, "\xC0\x80"sv, "\xED\xA0\x80"sv, "\xF4\x90\x80\x80"sv, "\xFF"sv, "ok\xE2\x82"sv}) {
        expect(!is_utf8(wrong), "not UTF-8", "accepted");
    }
}

void base64_test(void**) {
    struct Case {
        string_view text, bytes;
    };
    for (auto [text, bytes] : std::initializer_list<Case>{
             {"", ""},
             {"QQ==", "A"},
             {"QQ=", "A"},
             {"QQ", "A"},
             {"QUI=", "AB"},
             {"QUI", "AB"},
             {"QUJD", "ABC"},
             {"QUJDRA", "ABCD"},
             {"+/+/", "\xFB\xFF\xBF"},
             {"-_-_", "\xFB\xFF\xBF"},
             {"+_-/", "\xFB\xFF\xBF"},
             {"QUJDfn5+", "ABC~~~"},
             {"QUJDfn5 ", "ABC~~~"},  // the space was a '+'
             {"fn5 fn5 ", "~~~~~~"},
             {"a a/", "k\xE6\xBF"},
             {"QUJD\nRA==", "ABCD"},
             {"QU\r\nJD\tRA\n==\n", "ABCD"},
             {"  \r\n QUJD", "ABC"},
             {"QQ==  \r\n", "A"},
             {"QQ= = ", "A"},
             {"\n\n", ""},
             {"   ", ""},
             {"QR==", "A"},  // bits that do not count
         }) {
        auto got = decode_base64(text);
        expect(got.has_value(), text, "nothing");
        expect_equal(*got, bytes, text);
    }
    for (string_view wrong :
         {"Q"sv, "QUJDR"sv, "Q==="sv, "QQ==="sv, "QUI=="sv, "QUJD="sv, "===="sv, "="sv, "QQ==QQ=="sv, "QQ=A"sv,
          "QQ==+"sv, "QU*D"sv, "QUJ.D"sv, "QU\0D"sv, "QUJD\x80"sv, "QUJD\v"sv, "Q U\"JD"sv, "QUJDx"sv, "QUJD,"sv}) {
        expect(!decode_base64(wrong), wrong, "accepted");
    }
    string bytes;
    for (int i = 0; i < 1000; ++i) {
        string text = base64(bytes);
        expect(decode_base64(text) == bytes, "a round trip", text);
        for (size_t line = 76; line < text.size(); line += 77) {
            text.insert(line, "\n");
        }
        expect(decode_base64(text + "\n") == bytes, "in lines", text);
        std::replace(text.begin(), text.end(), '+', '-');
        std::replace(text.begin(), text.end(), '/', '_');
        text.erase(std::min(text.find('='), text.size()));
        expect(decode_base64(text) == bytes, "URL-safe without padding", text);
        bytes += char(i * 167 ^ i >> 3);
    }
}

// ---- where the parameters are ----

void names_code_test(void**) {
    for (string_view yes : {"code=x", "code_b64=x", "code_id=x", "a=b&code=x", "a&&code=%20", "c%6Fde=x",
                            "%63%6f%64%65%5Fb64=x", "code=&code=x", "code==", "code=+"}) {
        expect(names_code(yes), yes, "not found");
    }
    for (string_view no : {"", "code", "code=", "code=&code_b64=&code_id", "Code=x", "xcode=x", "code_=x", "a=code=x",
                           "fn_name=x", "a=b;code=x", "c%6=x", "+code=x", "code%00=x", "&&&", "=code"}) {
        expect(!names_code(no), no, "found");
    }
}

void brings_python_test(void**) {
    for (string_view yes :
         {"code=x", "code_b64=x", "c%6Fde=x", "a=b&code=x", "code_id=x&kwargs=x", "kwargs=x&code_id=x",
          "code_id=x&kwargs_b64=x", "code_id=x&k%77args=x", "code_id=x&code=x", "code=&code_id=x&kwargs=&kwargs=x"}) {
        expect(brings_python(yes), yes, "not found");
    }
    for (string_view no : {"", "code_id=x", "code_id=x&name=y", "code_id=x&fn_name=y&use_cache=1&cache_kwargs=1",
                           "kwargs=x", "kwargs_b64=x&a=b", "code=&code_id=x", "code_id=x&kwargs=", "code_id=x&kwargs",
                           "code_id=x&Kwargs=y", "code_id=&kwargs=y", "code_id=x&xkwargs=y", "code_id=x;kwargs=y"}) {
        expect(!brings_python(no), no, "found");
    }
}

void locate_test(void**) {
    struct Case {
        string_view query, type, body;
        Place place;
    };
    const string_view urlencoded = "application/x-www-form-urlencoded";
    for (auto [query, type, body, place] : std::initializer_list<Case>{
             {"code=x", "application/json", "{}", Place::query},
             {"code_id=x", "multipart/form-data; boundary=x", "", Place::query},
             {"code=", "application/json", "", Place::json},
             {"", "application/json", "def run(): pass", Place::json},
             {"", "Application/JSON ; charset=utf-8", "", Place::json},
             {"a=b", "application/vnd.api+json", "", Place::json},
             {"", "application/problem+JSON;x=y", "", Place::json},
             {"", "", " \r\n\t{\"code\"", Place::json},
             {"", "", "\xEF\xBB\xBF{}", Place::json},
             {"", urlencoded, "{\"code\"", Place::json},
             {"", urlencoded, "code=x", Place::urlencoded},
             {"", " APPLICATION/x-www-form-urlencoded;charset=UTF-8", "", Place::urlencoded},
             {"", "multipart/form-data; boundary=x", "{", Place::multipart},
             {"", "Multipart/Form-Data", "", Place::multipart},
             {"", "multipart/mixed; boundary=x", "--x", Place::nowhere},
             {"", "text/plain", "def run(): pass", Place::nowhere},
             {"", "", "", Place::nowhere},
             {"", "", "   ", Place::nowhere},
             {"", "+json", "", Place::nowhere},
             {"", "application/jsonl", "", Place::nowhere},
             {"", "text/x; y=application/json", "[{", Place::nowhere},
         }) {
        expect(locate(query, type, body) == place, string(query) + "|" + string(type), body);
    }
}

// ---- code ----

void code_test(void**) {
    const string source = "def run(): return 'ä'";
    const string id = sha256_hex(source);
    Params all[] = {json("{\"code\": \"def run(): return 'ä'\"}"),
                    json("{\"code\": \"def run(): return '\\u00e4'\"}"),
                    json("{\"code_b64\": \"" + base64(source) + "\"}"),
                    encoded("code=def+run%28%29%3A%20return+'%C3%A4'"),
                    encoded("code_b64=" + base64(source)),
                    form({{"code", source}}),
                    form({{"code_b64", base64(source)}})};
    for (const Params& params : all) {
        assert_string_equal(params.code.c_str(), source.c_str());
        assert_string_equal(params.code_id.c_str(), id.c_str());
        assert_string_equal(params.fn_name.c_str(), "run");
        assert_false(params.kwargs.has_value());
        assert_false(params.use_cache);
        assert_false(params.cache_kwargs);
        assert_false(params.cache_key_override.has_value());
        assert_int_equal(params.fields.size(), 0);
    }
    // Exactly as it came.
    for (string text : {"\xEF\xBB\xBFrun = 1\r\n"s, "\n\n  x  \n\n"s, "#\x01\x7F"s}) {
        assert_true(form({{"code", text}}).code == text);
    }
    // Base64 that lost its plus signs on the way.
    assert_string_equal(encoded("code_b64=fn5+Cg==").code.c_str(), "~~~\n");
    assert_string_equal(encoded("code_b64=fn5+fn5+").code.c_str(), "~~~~~~");
}

void no_code_test(void**) {
    string text = no_code_text();
    for (const char* part : {"code", "JSON", "code_b64", "curl ", "-F code=@", "--form-string", "9876"}) {
        assert_non_null(strstr(text.c_str(), part));
    }
    for (string_view query : {"", "code", "code=", "code=+%0A%09", "code_b64=", "code_b64=++",
                              "code_b64=IAo=", "code_id=", "a=b&fn_name=f", "Code=x"}) {
        refuse_encoded(query, {text.c_str()});
    }
    for (string_view body : {"{}", "{\"code\": null}", "{\"code\": \"\"}", "{\"code\": \" \\n\"}",
                             "{\"code_b64\": null, \"code_id\": \"\"}", "{\"x\": {\"code\": \"a\"}}"}) {
        refuse_json(body, {text.c_str()});
    }
    refuse(read_form, Form{}, "an empty form", {text.c_str()});
    refuse(read_form, Form{{"code", "\r\n"}}, "a blank form", {text.c_str()});
}

void twice_test(void**) {
    for (string_view query : {"code=x&code=x", "code=x&code_b64=eA", "code_b64=eA&code_b64=eA", "code_id=x&code=x",
                              "code_id=x&code_id=x", "code_b64=eA&x=y&c%6fde=y", "code=+&code_b64=eA"}) {
        refuse_encoded(query, {"twice", "once"});
    }
    refuse_encoded("code_b64=eA&code=x", {"by code_b64 and code."});
    refuse_encoded("code=x&code=y", {"by two fields code."});
    refuse_json("{\"code\": \"x\", \"code\": \"x\"}", {"by two fields code."});
    refuse_json("{\"code\": \"x\", \"code_id\": \"x\"}", {"by code and code_id."});
    refuse_json("{\"code\": \"x\", \"c\\u006fde\": \"x\"}", {"twice"});
    refuse(read_form, Form{{"code", "x"}, {"code", "x"}}, "a form", {"twice"});
    // What is empty or null names nothing.
    assert_string_equal(encoded("code=&code_b64=eA&code_id=").code.c_str(), "x");
    assert_string_equal(json("{\"code_b64\": null, \"code_id\": \"\", \"code\": \"x\", \"code\": null}").code.c_str(),
                        "x");
}

void bad_code_test(void**) {
    refuse_encoded("code=%FF", {"The code is not UTF-8"});
    refuse_encoded("code=x%00", {"NUL"});
    refuse_encoded("code_b64=_w", {"The code is not UTF-8"});
    refuse_encoded("code_b64=AA", {"NUL"});
    refuse_encoded("code_b64=eA*", {"code_b64 is not base64"});
    refuse_encoded("code_b64=e", {"code_b64 is not base64"});
    refuse_json("{\"code\": \"x\\u0000\"}", {"NUL"});
    refuse(read_form, Form{{"code", "x\0"s}}, "NUL", {"NUL"});
    refuse(read_form, Form{{"code", "\xED\xA0\x80"}}, "a surrogate", {"UTF-8"});
}

void code_id_test(void**) {
    Params params = encoded("code_id=sha256:" + digits + "&a=b");
    assert_string_equal(params.code_id.c_str(), digits.c_str());
    assert_string_equal(params.code.c_str(), "");
    assert_string_equal(listed(params).c_str(), "a=b");
    string mixed = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
    string lower = "0123456789abcdefabcdef0123456789abcdefabcdef0123456789abcdefabcd";
    assert_string_equal(json("{\"code_id\": \"sha256:" + mixed + "\"}").code_id.c_str(), lower.c_str());
    for (const string& wrong :
         {digits, "SHA256:" + digits, "sha256:" + digits + "a", "sha256:" + digits.substr(1),
          "sha256:" + digits.substr(1) + "g", "sha256: " + digits, "sha256:" + digits + " ", "sha512:" + digits,
          "sha256:"s, "x"s, "sha256:" + digits.substr(1) + "@", digits + "sha256:"}) {
        refuse(read_form, Form{{"code_id", wrong}}, wrong, {"code_id is '", "sha256:", "64 hex"});
    }
}

// ---- the other parameters ----

void fn_name_test(void**) {
    assert_string_equal(encoded("code=x&fn_name=go").fn_name.c_str(), "go");
    assert_string_equal(encoded("code=x&fn_name=a&fn_name=b").fn_name.c_str(), "a");
    assert_string_equal(encoded("code_b64=eA&fn_name=go").fn_name.c_str(), "go");
    assert_string_equal(json("{\"code\":\"x\",\"fn_name\":\"a\",\"fn_name\":\"b\"}").fn_name.c_str(), "b");
    assert_string_equal(json("{\"code\":\"x\",\"fn_name\":null}").fn_name.c_str(), "run");
    assert_string_equal(json("{\"code\":\"x\",\"fn_name\":\"a\",\"fn_name\":null}").fn_name.c_str(), "run");
    assert_string_equal(form({{"code", "x"}, {"fn_name", "größe"}}).fn_name.c_str(), "größe");
    assert_int_equal(form({{"code", "x"}, {"fn_name", string(255, 'f')}}).fn_name.size(), 255);
    for (const string& wrong : {""s, "a\0b"s, string(256, 'f')}) {
        refuse(read_form, Form{{"code", "x"}, {"fn_name", wrong}}, wrong, {"fn_name '", "run"});
    }
    refuse_encoded("code=x&fn_name=%FF", {"fn_name is not UTF-8"});
}

void bool_test(void**) {
    for (const char* word : {"true", "True", "TRUE", "1", "yes", "Yes", "on", "oN"}) {
        Params params = encoded("code=x&use_cache="s + word + "&cache_kwargs=" + word + "&events=" + word);
        expect(params.use_cache && params.cache_kwargs && params.events, word, "false");
        expect(json("{\"code\":\"x\",\"use_cache\":\""s + word + "\"}").use_cache, word, "false");
    }
    for (const char* word : {"false", "False", "0", "no", "NO", "off"}) {
        Params params = encoded("code=x&use_cache="s + word + "&cache_kwargs=" + word + "&events=" + word);
        expect(!params.use_cache && !params.cache_kwargs && !params.events, word, "true");
    }
    for (const char* word : {"", "2", "tru", "truee", "y", "t", "yes+", "none", "null", "01", "-1", "%FF"}) {
        refuse_encoded("code=x&use_cache="s + word, {"use_cache"});
        refuse_encoded("code_b64=eA&cache_kwargs="s + word, {"cache_kwargs"});
    }
    refuse_encoded("code=x&use_cache=maybe", {"'maybe'", "true, 1, yes or on", "false, 0, no or off"});
    assert_true(json("{\"code\":\"x\",\"use_cache\":true}").use_cache);
    assert_true(json("{\"code\":\"x\",\"use_cache\":1}").use_cache);
    for (const char* yes : {"true", "1", "\"yes\""}) {
        expect(json("{\"code\":\"x\",\"events\":"s + yes + "}").events, yes);
    }
    expect(!json(R"({"code":"x","events":true,"events":null})").events, "null");
    Params asked;  // by a header
    asked.events = true;
    assert_false(read_urlencoded("code=x", asked).has_value());
    assert_true(asked.events);
    assert_false(read_urlencoded("code=x&events=no", asked).has_value());
    assert_false(asked.events);
    assert_true(json("{\"code\":\"x\",\"cache_kwargs\":false,\"cache_kwargs\":true}").cache_kwargs);
    assert_false(json("{\"code\":\"x\",\"use_cache\":false}").use_cache);
    assert_false(json("{\"code\":\"x\",\"use_cache\":0}").use_cache);
    assert_false(json("{\"code\":\"x\",\"use_cache\":null}").use_cache);
    assert_false(json("{\"code\":\"x\",\"use_cache\":true,\"use_cache\":false}").use_cache);
    assert_false(json("{\"code\":\"x\",\"use_cache\":true,\"use_cache\":null}").use_cache);
    assert_true(encoded("code=x&use_cache=1&use_cache=maybe").use_cache);
    for (const char* wrong : {"2", "1.0", "-0", "[true]", "{}", "1e0"}) {
        refuse_json("{\"code\":\"x\",\"use_cache\":"s + wrong + "}", {"use_cache must be true or false", wrong});
    }
}

void cache_key_test(void**) {
    assert_string_equal(encoded("code=x&cache_key_override=a+b").cache_key_override->c_str(), "a b");
    assert_string_equal(json("{\"code\":\"x\",\"cache_key_override\":\"\\u00e4\"}").cache_key_override->c_str(), "ä");
    assert_string_equal(json("{\"code\":\"x\",\"cache_key_override\": -1.50e3 }").cache_key_override->c_str(),
                        "-1.50e3");
    for (const Params& params : {json(R"({"code":"x","cache_key_override":null})"),
                                 json(R"({"code":"x","cache_key_override":1,"cache_key_override":null})"),
                                 json(R"({"code":"x","cache_key_override":1,"cache_key_override":""})"),
                                 encoded("code=x&cache_key_override=")}) {
        assert_false(params.cache_key_override.has_value());
    }
    for (const char* wrong : {"true", "[1]", "{\"a\":1}"}) {
        refuse_json("{\"code\":\"x\",\"cache_key_override\":"s + wrong + "}",
                    {"cache_key_override must be a string or a number", wrong});
    }
    refuse_encoded("code=x&cache_key_override=%80", {"cache_key_override is not UTF-8"});
}

void kwargs_test(void**) {
    auto kwargs = [](const Params& params) { return params.kwargs.value_or("absent"); };
    struct Case {
        string_view text, kwargs;
    };
    for (auto [text, want] : std::initializer_list<Case>{
             {"code=x&kwargs={'a':+1}", "{'a': 1}"},
             {"code=x&kwargs_b64=eydhJzogMX0", "{'a': 1}"},
             {"code_b64=eA&kwargs_b64=eydhJzogMX0=", "{'a': 1}"},
             {"code_b64=eA&kwargs=1&kwargs=2", "1"},
             {"code=x&kwargs_b64=MQ&kwargs_b64=Mg", "1"},
             {"code=x&kwargs=", "absent"},
             {"code=x&kwargs=+%0A", "absent"},
             {"code=x&kwargs_b64=", "absent"},
             {"code=x&kwargs_b64=IAo=", "absent"},
             {"code=x&kwargs=&kwargs_b64=MQ", "1"},
             {"code=x&kwargs=1&kwargs_b64=", "1"},
             {"code=x&kwargs=+1%0A", " 1\n"},
             {"code=x", "absent"},
         }) {
        expect_equal(kwargs(encoded(text)), want, text);
    }
    for (auto [text, want] : std::initializer_list<Case>{
             {R"("kwargs":{"a" : [1, {}]} )", R"({"a" : [1, {}]})"},
             {R"("kwargs" : [ 1 ] )", "[ 1 ]"},
             {R"("kwargs":12)", "12"},
             {R"("kwargs": true)", "true"},
             {R"("kwargs":null)", "absent"},
             {R"("kwargs":"{'a': \"b\"}")", "{'a': \"b\"}"},
             {R"("kwargs":"")", "absent"},
             {R"("kwargs":{"a":1},"kwargs":{"a":2})", R"({"a":2})"},
             {R"("kwargs":{"a":1},"kwargs":null)", "absent"},
             {R"("kwargs":1,"kwargs_b64":null)", "1"},
             {R"("kwargs":null,"kwargs_b64":"MQ")", "1"},
             {R"("kwargs":"\u007b}")", "{}"},
         }) {
        expect_equal(kwargs(json("{\"code\":\"x\"," + string(text) + "}")), want, text);
    }
    refuse_encoded("code=x&kwargs=1&kwargs_b64=MQ", {"Both kwargs and kwargs_b64"});
    refuse_json(R"({"code":"x","kwargs":{},"kwargs_b64":"MQ"})", {"Both kwargs and kwargs_b64"});
    refuse_encoded("code=x&kwargs_b64=M", {"kwargs_b64 is not base64"});
    refuse_encoded("code=x&kwargs_b64=*", {"kwargs_b64 is not base64"});
    refuse_encoded("code=x&kwargs_b64=_w", {"kwargs_b64", "UTF-8"});
    refuse_encoded("code=x&kwargs=%FF", {"kwargs is not UTF-8"});
    refuse_json(R"({"code":"x","kwargs_b64":{}})", {"kwargs_b64 must be a string"});
}

// ---- fields ----

void urlencoded_fields_test(void**) {
    struct Case {
        string_view text, fields;
    };
    for (auto [text, want] : std::initializer_list<Case>{
             {"a=b&code=x&c=d", "a=b c=d"},
             {"code=x&a=1&a=2&b=3", "a=1 b=3"},
             {"code=x&a=", "a="},
             {"code=x&a", "a="},
             {"code=x&=v", "=v"},
             {"&&code=x&&&a=b&", "a=b"},
             {"code=x&a=b=c", "a=b=c"},
             {"code=x&a=%3D%26%2B", "a==&+"},
             {"code=x&a+b=c+d", "a b=c d"},
             {"code=x&a=%C3%A4%e2%82%ac", "a=ä€"},
             {"code=x&%61=1", "a=1"},
             {"code=x&a=100%", "a=100%"},
             {"code=x&a=%4", "a=%4"},
             {"code=x&a=%zz%4g%g4", "a=%zz%4g%g4"},
             {"code=x&a=%%41", "a=%A"},
             {"code=x&a=%2541", "a=%41"},
             {"code=x&a=true", "a=true"},
             {"code=x&Code=y&fn-name=z", "Code=y fn-name=z"},
             {"code_b64=eA&a=b", ""},
             {"a=b&code_b64=eA", ""},
             {"code_b64=eA&a=%FF&%FF=b", ""},
         }) {
        expect_equal(listed(encoded(text)), want, text);
    }
    assert_true(encoded("code=x&a=%00b").fields[0].value == "\0b"s);
    refuse_encoded("code=x&a=%FF", {"The field 'a' is not UTF-8"});
    refuse_encoded("a=%C3&code=x", {"'a'"});
    refuse_encoded("code=x&%FF=a", {"'?' is not UTF-8"});
    refuse_encoded("code=x&a%0Ab=%FF", {"'a?b'"});
    refuse_encoded("code=x&" + string(500, 'n') + "=%FF", {"nnn...'"});
    refuse_encoded("code=x&" + string(59, 'n') + "%C3%A4%C3%A4=%FF", {"nnn...'"});
}

void json_fields_test(void**) {
    struct Case {
        string_view text, fields;
    };
    for (auto [text, want] : std::initializer_list<Case>{
             {R"("a":"b")", "a=b"},
             {R"("a":"")", "a="},
             {R"("a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00")", "a=\"\\/\b\f\n\r\tä😀"},
             {R"("a":"null")", "a=null"},
             {R"("a":null)", ""},
             {R"("a":1,"a":2,"b":3)", "a:2 b:3"},
             {R"("a":1,"a":"s")", "a=s"},
             {R"("a":"s","a":[1])", "a:[1]"},
             {R"("a":1,"b":2,"a":null)", "b:2"},
             {R"("a":null,"a":1)", "a:1"},
             {R"("a" : 0 , "b" : -0.0 , "c" : 1e400 , "d":1E+2)", "a:0 b:-0.0 c:1e400 d:1E+2"},
             {R"("a":123456789012345678901234567890)", "a:123456789012345678901234567890"},
             {R"("a": true ,"b":false)", "a:true b:false"},
             {"\"a\":\t[ ]\n,\"b\":{ }", "a:[ ] b:{ }"},
             {R"("a":[1,"]",{"}":"\"{"},[[]]] )", R"(a:[1,"]",{"}":"\"{"},[[]]])"},
             {R"("a":{"code":"y","fn_name":1})", R"(a:{"code":"y","fn_name":1})"},
             {R"("":1)", ":1"},
             {R"("\u0061":1)", "a:1"},
             {R"("a":"\ud800")", R"(a:"\ud800")"},
             {R"("a":"\udc00x" )", R"(a:"\udc00x")"},
             {R"("a":["\ud800"])", R"(a:["\ud800"])"},
         }) {
        expect_equal(listed(json("{\"code\":\"x\"," + string(text) + "}")), want, text);
        expect_equal(listed(json("{" + string(text) + ",\"code\":\"x\"}")), want, text);
        expect_equal(listed(json("{" + string(text) + ",\"code_b64\":\"eA\"}")), "", text);
    }
    assert_true(json(R"({"code":"x","a":"\u0000"})").fields[0].value == "\0"s);
    assert_string_equal(listed(json("\xEF\xBB\xBF {\"code\":\"x\",\"a\":1} \n")).c_str(), "a:1");
    // Of any size; the larger ones use another parser.
    for (size_t size : {100u, 3000u, (1u << 20) - 30, (1u << 20) + 1, 3u << 20, 50u}) {
        string value(size, 'v');
        Params params = json("{\"code\":\"x\",\"a\":\"" + value + "\"}");
        assert_true(params.fields.size() == 1 && params.fields[0].value == value);
    }
}

void json_types_test(void**) {
    for (string_view name : {"code", "code_b64", "code_id", "fn_name", "kwargs_b64"}) {
        for (string_view value : {"1", "true", "[\"x\"]", "{}"}) {
            string wanted = string(name) + " must be a string in a JSON body, not '" + string(value) + "'";
            string body = "{\"code\":\"x\",\"" + string(name) + "\": " + string(value) + " }";
            refuse_json(body, {wanted.c_str()});
        }
        string body = "{\"" + string(name) + "\": \"\\udfff\"}";
        refuse_json(body, {string(name).c_str(), "surrogate"});
    }
    for (string_view body : {"[]", "\"code\"", "1", "null", "[{\"code\":\"x\"}]", "true"}) {
        refuse_json(body, {"JSON", "object"});
    }
}

void bad_json_test(void**) {
    const string start = "{\"code\":\"x\",";
    for (string_view rest : {""sv,
                             "}"sv,
                             "\"a\"}"sv,
                             "\"a\":}"sv,
                             "\"a\":1,}"sv,
                             "\"a\":1 \"b\":2}"sv,
                             "\"a\":1"sv,
                             "\"a\":\"1}"sv,
                             "\"a\":01}"sv,
                             "\"a\":+1}"sv,
                             "\"a\":.5}"sv,
                             "\"a\":1.}"sv,
                             "\"a\":1e}"sv,
                             "\"a\":1e+}"sv,
                             "\"a\":-}"sv,
                             "\"a\":--1}"sv,
                             "\"a\":0x10}"sv,
                             "\"a\":1_0}"sv,
                             "\"a\":1 0}"sv,
                             "\"a\":NaN}"sv,
                             "\"a\":Infinity}"sv,
                             "\"a\":-Infinity}"sv,
                             "\"a\":True}"sv,
                             "\"a\":truex}"sv,
                             "\"a\":tru}"sv,
                             "\"a\":fals}"sv,
                             "\"a\":nul}"sv,
                             "\"a\":nullx}"sv,
                             "\"a\":None}"sv,
                             "\"a\":undefined}"sv,
                             "\"a\":'b'}"sv,
                             "'a':1}"sv,
                             "a:1}"sv,
                             "1:1}"sv,
                             "\"a\"=1}"sv,
                             "\"a\":[}"sv,
                             "\"a\":[1}"sv,
                             "\"a\":[1}}"sv,
                             "\"a\":{]}"sv,
                             "\"a\":{\"b\":1]}"sv,
                             "\"a\":]}"sv,
                             "\"a\":[1,]}"sv,
                             "\"a\":[,]}"sv,
                             "\"a\":[1 2]}"sv,
                             "\"a\":{\"b\":1,}}"sv,
                             "\"a\":{\"b\"}}"sv,
                             "\"a\":{1:2}}"sv,
                             "\"a\":[tru]}"sv,
                             "\"a\":[01]}"sv,
                             "\"a\":[\"\\q\"]}"sv,
                             "\"a\":[\"\\u12g4\"]}"sv,
                             "\"a\":{\"\\q\":1}}"sv,
                             "\"a\":\"\\q\"}"sv,
                             "\"a\":\"\\u12\"}"sv,
                             "\"a\":\"\\x41\"}"sv,
                             "\"\\q\":1}"sv,
                             "\"\\ud800\":1}"sv,
                             "\"a\":\"b\nc\"}"sv,
                             "\"a\":\"b\0c\"}"sv,
                             "\"a\":\"\xFF\"}"sv,
                             "\"a\":\"\xED\xA0\x80\"}"sv,
                             "\"\xC3\":1}"sv,
                             "\"a\":1}x"sv,
                             "\"a\":1}}"sv,
                             "\"a\":1}{}"sv,
                             "\"a\":1},"sv,
                             "\"a\":1} null"sv,
                             "\"a\":1}\0"sv,
                             "\"a\":1}\"\""sv,
                             "\"a\":1]"sv,
                             "\"a\":1/* */}"sv,
                             "\"a\":1} // x"sv,
                             "\"a\":\"b\":1}"sv,
                             "\"a\":\"b\":1},\"c\":2}"sv,
                             "\"a\":\"b\"\"c\"}"sv,
                             "\"a\":1\"c\"}"sv,
                             "\"a\"::1}"sv,
                             "\"a\":1,,\"b\":2}"sv,
                             "\"a\":1:2}"sv,
                             "\"a\":{}{}}"sv,
                             "\"a\":[][]}"sv,
                             "\"a\":[1]2}"sv,
                             "\"a\":[\"b\":1]}"sv,
                             "\"a\":[\"b\":1],\"c\":2]}"sv,
                             "\"a\":1\xC2\xA0}"sv,
                             "\"a\":\v1}"sv}) {
        refuse_json(start + string(rest), {"The body is not valid JSON: "});
        // The same under a parameter's name.
        if (rest.starts_with("\"a\"")) {
            string body = "{\"code\":\"x\",\"kwargs\"" + string(rest.substr(3));
            refuse_json(body, {"The body is not valid JSON: "});
        }
    }
    for (string_view body : {""sv, " "sv, "{"sv, "{\"code\":\"x\""sv, "{\"code\":\"x}"sv, "}"sv, "def run(): pass"sv,
                             "{'code': 'x'}"sv, "\xEF\xBB\xBF"sv}) {
        refuse_json(body, {"JSON"});
    }
    refuse_json("{'code': 'x'}", {"not valid JSON", "double quotes"});
    refuse_json("{ 'code': \"x\"}", {"double quotes"});
    refuse_json("{\"code\": \"x\",\n \"a\": 1\n \"b\": 2}", {"line 3, column"});

    string deep(2000, '[');
    refuse_json(start + "\"a\":" + deep + string(deep.size(), ']') + "}", {"too deep"});
    json(start + "\"a\":" + string(500, '[') + string(500, ']') + "}");
    refuse_json(start + "\"a\":" + string(501, '[') + string(501, ']') + "}", {"too deep"});
    refuse_json(start + "\"a\":" + string(200000, '['), {"not valid JSON"});
    // The parser serves on after every failure.
    assert_string_equal(json("{\"code\":\"y\"}").code.c_str(), "y");
}

void form_fields_test(void**) {
    Params params = form({{"name", "a+b%41"}, {"code", "x"}, {"name", "c"}, {"z", ""}, {"n", "\0"s}});
    assert_string_equal(listed(params).substr(0, 17).c_str(), "name=a+b%41 z= n=");
    assert_int_equal(params.fields.size(), 3);
    assert_int_equal(form({{"code_b64", "eA"}, {"a", "b"}}).fields.size(), 0);
    params = form({{"code", "x"}, {"use_cache", "on"}, {"kwargs", "{}"}, {"fn_name", "f"}});
    assert_true(params.use_cache);
    assert_string_equal(params.kwargs->c_str(), "{}");
    assert_string_equal(params.fn_name.c_str(), "f");
    refuse(read_form, Form{{"code", "x"}, {"a", "\xFF"}}, "a form", {"'a'", "file part"});
}

void many_fields_test(void**) {
    auto many = [](int count, const char* format) {
        string out;
        for (int i = 0; i < count; ++i) {
            char field[40];
            std::snprintf(field, sizeof field, format, i);
            out += field;
        }
        return out;
    };
    assert_int_equal(encoded("code=x" + many(1000, "&a%d=1")).fields.size(), 1000);
    assert_int_equal(json("{\"code\":\"x\"" + many(1000, ",\"a%d\":1") + "}").fields.size(), 1000);
    refuse_encoded("code=x" + many(1001, "&a%d=1"), {"more than 1000 fields"});
    refuse_encoded(many(1001, "a%d=1&") + "code=x", {"more than 1000 fields"});
    refuse_json("{\"code\":\"x\"" + many(1001, ",\"a%d\":1") + "}", {"more than 1000 fields"});
    refuse_json("{\"code\":\"x\"" + many(1001, ",\"a%d\":null") + "}", {"more than 1000 fields"});
    assert_int_equal(encoded("code_b64=eA" + many(5000, "&a%d=1")).fields.size(), 0);
    assert_int_equal(json("{" + many(5000, "\"a%d\":1,") + "\"code_b64\":\"eA\"}").fields.size(), 0);
}

// What a call left in params, or in the parser, is gone by the next.
void reuse_test(void**) {
    Params params;
    assert_false(read_json(R"({"code":"x","fn_name":"f","kwargs":1,"use_cache":1,"cache_kwargs":1,
                               "cache_key_override":"k","a":1})",
                           params)
                     .has_value());
    assert_false(read_urlencoded("code_id=sha256:" + digits, params).has_value());
    assert_string_equal(params.code.c_str(), "");
    assert_string_equal(params.code_id.c_str(), digits.c_str());
    assert_string_equal(params.fn_name.c_str(), "run");
    assert_false(params.kwargs || params.use_cache || params.cache_kwargs || params.cache_key_override);
    assert_int_equal(params.fields.size(), 0);
    // A short body behind a long one must not see the long one's end.
    json("{\"code\":\"x\",\"a\":\"" + string(300, '}') + "\"}");
    refuse_json("{\"code\":\"x\",\"a\":{\"b\":1}", {"not valid JSON"});
    refuse_json("{\"code\":\"x\",\"a\":\"", {"not valid JSON"});
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(sha256_test),        cmocka_unit_test(utf8_test),
        cmocka_unit_test(base64_test),        cmocka_unit_test(names_code_test),
        cmocka_unit_test(brings_python_test), cmocka_unit_test(locate_test),
        cmocka_unit_test(code_test),          cmocka_unit_test(no_code_test),
        cmocka_unit_test(twice_test),         cmocka_unit_test(bad_code_test),
        cmocka_unit_test(code_id_test),       cmocka_unit_test(fn_name_test),
        cmocka_unit_test(bool_test),          cmocka_unit_test(cache_key_test),
        cmocka_unit_test(kwargs_test),        cmocka_unit_test(urlencoded_fields_test),
        cmocka_unit_test(json_fields_test),   cmocka_unit_test(json_types_test),
        cmocka_unit_test(bad_json_test),      cmocka_unit_test(form_fields_test),
        cmocka_unit_test(many_fields_test),   cmocka_unit_test(reuse_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
