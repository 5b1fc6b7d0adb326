// What becomes of a call as server-sent events: in the order in which it happened, a slice at a time, and so that what
// was sent can be put together again.

#include "call/events.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "call/base64.hpp"
#include "check.hpp"

using namespace owt;
using std::string;
using namespace std::literals;

namespace {

Batch answer(string type, const std::vector<string>& pieces, End end = End::finished) {
    Batch batch;
    batch.head = Head{200, {{"Content-Type", std::move(type)}}};
    for (const string& piece : pieces) {
        batch.pieces.push_back(Piece::copy(piece));
    }
    batch.end = end;
    return batch;
}

void say(Batch& batch, Said said) {
    if (batch.said == nullptr) {
        batch.said = std::make_unique<std::vector<Said>>();
    }
    batch.said->push_back(std::move(said));
}

string all(Events& events) {
    string text;
    while (events.waiting()) {
        text += events.next();
    }
    return text;
}

// The data of each event of this name.
std::vector<string> data_of(const string& text, const string& name) {
    std::vector<string> found;
    string mark = "\nevent: " + name + "\ndata: ";
    for (std::size_t at = text.find(mark); at != string::npos; at = text.find(mark, at)) {
        at += mark.size();
        found.push_back(text.substr(at, text.find("\n\n", at) - at));
    }
    return found;
}

void expect_data(const string& text, const string& name, const std::vector<string>& want) {
    auto got = data_of(text, name);
    expect(got == want, name, text);
}

void a_call_is_told_in_order(void**) {
    Events events;
    Batch batch = answer("text/plain", {"a", "b"});
    batch.head->headers.push_back({"X-A", "1"});
    batch.head->headers.push_back({"x-a", "2"});
    say(batch, {Said::By::out, "first\n", 0, 0});
    say(batch, {Said::By::err, "between \"\n", 0, 1});
    say(batch, {Said::By::logging, "last", 7, 2});
    events.progress("{}");
    events.put(std::move(batch), {0.001, 0, 0.0123456});
    assert_false(events.over());
    string text = all(events);
    assert_true(events.over());
    assert_string_equal(
        text.c_str(),
        "id: 1\nevent: progress\ndata: {}\n\n"
        "id: 2\nevent: log\ndata: {\"text\": \"first\\n\", \"stream\": \"stdout\"}\n\n"
        "id: 3\nevent: start\ndata: {\"status\": 200, \"type\": \"text/plain\", \"headers\": {\"X-A\": \"1, 2\"}}\n\n"
        "id: 4\nevent: output\ndata: {\"text\": \"a\"}\n\n"
        "id: 5\nevent: log\ndata: {\"text\": \"between \\\"\\n\", \"stream\": \"stderr\"}\n\n"
        "id: 6\nevent: output\ndata: {\"text\": \"b\"}\n\n"
        "id: 7\nevent: log\ndata: {\"text\": \"last\", \"stream\": \"logging\", \"missing\": 7}\n\n"
        "id: 8\nevent: done\ndata: {\"status\": 200, \"type\": \"text/plain\", \"ms\": {\"queue\": 1.000, \"load\": "
        "0.000, "
        "\"run\": 12.346}}\n\n");
}

void characters_stay_whole(void**) {
    const string text = "aö✓𝄞z";
    for (std::size_t size = 1; size <= 5; size++) {
        std::vector<string> pieces;
        for (std::size_t at = 0; at < text.size(); at += size) {
            pieces.push_back(text.substr(at, size));
        }
        Events events;
        events.put(answer("text/plain; charset=UTF-8", pieces), {});
        string joined;
        for (const string& data : data_of(all(events), "output")) {
            assert_true(data.starts_with("{\"text\": \"") && data.ends_with("\"}"));
            joined += data.substr(10, data.size() - 12);
        }
        assert_string_equal(joined.c_str(), text.c_str());
    }
}

void what_is_no_text_is_bytes(void**) {
    struct Case {
        const char* type;
        string piece;
        bool text;
    };
    const Case cases[] = {{"text/html", "a", true},
                          {"TEXT/CSV; Charset=\"utf-8\"", "ö", true},
                          {"application/json", "{}", true},
                          {"application/problem+json", "{}", true},
                          {"image/svg+xml", "<svg/>", true},
                          {"text/plain; charset=latin-1", "a", false},
                          {"text/plain", "a\xff", false},
                          {"text/plain", "\xed\xa0\x80", false},
                          {"text/plain", "\x80", false},
                          {"image/png", "a", false},
                          {"application/octet-stream", "a", false},
                          {"", "a", false},
                          {"text/plain", "\xc3", false}};
    for (const Case& one : cases) {
        Events events;
        events.put(answer(one.type, {one.piece}), {});
        string base64 = "{\"base64\": \"" + encode_base64(one.piece) + "\"}";
        expect_data(all(events), "output", {one.text ? "{\"text\": \"" + one.piece + "\"}" : base64});
    }
}

void no_more_is_made_than_goes_out(void**) {
    Events events;
    string large(1 << 20, 'x');
    events.put(answer("image/png", {large}), {});
    string joined;
    std::size_t spent = 0;
    while (events.waiting()) {
        string slice = events.next();
        assert_true(slice.size() < 2 * Events::slice);
        spent += events.spent();
        for (const string& data : data_of("\n" + slice, "output")) {
            joined += *decode_base64(data.substr(12, data.size() - 14));
        }
    }
    assert_true(joined == large);
    assert_int_equal(spent, large.size());
    assert_int_equal(events.spent(), 0);
}

void a_file_is_read_from_its_start(void**) {
    char path[] = "/tmp/owt-events-XXXXXX";
    int fd = mkstemp(path);
    string content(200'000, 'f');
    assert_int_equal(write(fd, content.data(), content.size()), content.size());
    unlink(path);
    Batch batch = answer("text/plain", {});
    batch.file = std::make_unique<FileAnswer>(Fd(fd), "name");
    Events events;
    events.put(std::move(batch), {});
    string joined;
    string text = all(events);
    for (const string& data : data_of(text, "output")) {
        joined += data.substr(10, data.size() - 12);
    }
    assert_true(joined == content);
    assert_int_equal(data_of(text, "done").size(), 1);
}

void a_file_that_cannot_be_read_is_an_error(void**) {
    Batch batch = answer("text/plain", {});
    batch.file = std::make_unique<FileAnswer>(Fd(open("/tmp", O_RDONLY)), "name");
    Events events;
    events.put(std::move(batch), {});
    string text = all(events);
    assert_int_equal(data_of(text, "error").size(), 1);
    assert_int_equal(data_of(text, "done").size(), 0);
    assert_true(events.over());
}

void a_failure_is_the_last_event(void**) {
    Events events;
    events.put(answer("text/plain", {"a"}, End::open), {});
    assert_false(all(events).empty());
    assert_false(events.over());
    events.failed({404, "gone", "It is \"gone\"."});
    events.failed({500, "other", "x"});
    string text = all(events);
    assert_string_equal(
        text.c_str(),
        "id: 3\nevent: error\ndata: {\"type\": \"urn:owt:gone\", \"title\": \"Not Found\", \"status\": 404, "
        "\"detail\": \"It is \\\"gone\\\".\"}\n\n");
    assert_true(events.over());
}

void what_breaks_off_is_an_error(void**) {
    Events events;
    events.put(answer("text/plain", {"\xc3"}, End::aborted), {});
    string text = all(events);
    expect_data(text, "output", {"{\"base64\": \"ww==\"}"});
    assert_int_equal(data_of(text, "error").size(), 1);
    Batch batch;
    batch.problem = std::make_unique<Problem>(500, "adaptor-failed", "why");
    batch.end = End::aborted;
    Events others;
    others.put(std::move(batch), {});
    text = all(others);
    assert_true(text.find("why") != string::npos);
    assert_int_equal(data_of(text, "error").size(), 1);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_told_in_order),       cmocka_unit_test(characters_stay_whole),
        cmocka_unit_test(what_is_no_text_is_bytes),      cmocka_unit_test(no_more_is_made_than_goes_out),
        cmocka_unit_test(a_file_is_read_from_its_start), cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_failure_is_the_last_event),   cmocka_unit_test(what_breaks_off_is_an_error),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
