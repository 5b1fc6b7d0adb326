#include "call/events.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "call/base64.hpp"
#include "call/problem.hpp"
#include "call/text.hpp"

namespace owt {

namespace {

std::string_view name_of(Said::By by) {
    switch (by) {
        case Said::By::err:
            return "stderr";
        case Said::By::logging:
            return "logging";
        default:
            return "stdout";
    }
}

// How many bytes at the end begin a character without ending it; at most three.
std::size_t unfinished(std::string_view text) {
    std::size_t most = std::min<std::size_t>(text.size(), 3);
    for (std::size_t n = 1; n <= most; ++n) {
        auto byte = static_cast<unsigned char>(text[text.size() - n]);
        if (byte >= 0xC0) {
            std::size_t length = byte > 0xF4 ? 0 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
            return length > n ? n : 0;
        }
        if (byte < 0x80) {
            return 0;
        }
    }
    return 0;
}

// As a browser's Headers have them: of one name one value.
std::vector<Header> joined(const Head& head) {
    std::vector<Header> headers;
    for (const Header& header : head.headers) {
        if (same(header.name, "Content-Type")) {
            continue;
        }
        auto found = std::ranges::find_if(headers, [&](const Header& other) { return same(other.name, header.name); });
        if (found == headers.end()) {
            headers.push_back(header);
        } else {
            found->value.append(", ").append(header.value);
        }
    }
    return headers;
}

}  // namespace

bool is_text(std::string_view content_type) {
    std::string_view rest = content_type;
    std::string type = lower(trim(rest.substr(0, rest.find(';')), blanks));
    static constexpr std::array<std::string_view, 7> others = {
        "application/json", "application/x-ndjson", "application/javascript",           "application/xml",
        "application/yaml", "application/toml",     "application/x-www-form-urlencoded"};
    bool text = type.starts_with("text/") || type.ends_with("+json") || type.ends_with("+xml") ||
                std::ranges::find(others, type) != others.end();
    std::string parameters = lower(rest);
    std::size_t at = parameters.find("charset=");
    if (!text || at == std::string::npos) {
        return text;
    }
    std::string_view charset = std::string_view(parameters).substr(at + 8);
    charset = trim(charset.substr(0, charset.find(';')), " \t\"");
    return charset == "utf-8" || charset == "utf8" || charset == "us-ascii";
}

void Events::put(Batch&& batch, const Timing& timing, const std::optional<std::string>& made) {
    std::size_t pieces = batch.pieces.size();
    auto said = batch.said ? batch.said->begin() : std::vector<Said>::iterator();
    auto end = batch.said ? batch.said->end() : std::vector<Said>::iterator();
    for (std::size_t i = 0; i <= pieces; ++i) {
        for (; said != end && (said->before <= i || i == pieces); ++said) {
            Item& item = items_.emplace_back();
            item.kind = Item::Kind::said;
            item.said = std::move(*said);
        }
        if (batch.head && i == 0) {
            start(*batch.head);
        }
        if (i < pieces) {
            Item& item = items_.emplace_back();
            item.kind = Item::Kind::body;
            item.body = std::move(batch.pieces[i]);
        }
    }
    if (batch.file) {
        Item& item = items_.emplace_back();
        item.kind = Item::Kind::file;
        item.file = std::move(batch.file->fd);
    }
    if (made) {
        progress(*made);
    }
    if (batch.problem) {
        failed(*batch.problem);
    } else if (batch.end == End::finished || batch.file) {
        done(timing);
    } else if (batch.end == End::aborted) {
        failed({500, "adaptor-failed", "The adaptor's answer broke off."});
    }
}

void Events::event(std::string_view name, std::string data) {
    Item& item = items_.emplace_back();
    item.name = name;
    item.data = std::move(data);
}

void Events::progress(const std::string& json) {
    event("progress", json);
}

void Events::start(const Head& head) {
    status_ = head.status;
    for (const Header& header : head.headers) {
        if (same(header.name, "Content-Type")) {
            type_ = header.value;
        }
    }
    text_ = is_text(type_);
    std::string data = "{\"status\": " + std::to_string(status_) + ", \"type\": ";
    append_json(data, type_);
    data += ", \"headers\": {";
    const char* before = "";
    for (const Header& header : joined(head)) {
        data += std::exchange(before, ", ");
        append_json(data, header.name);
        data += ": ";
        append_json(data, header.value);
    }
    event("start", data + "}}");
}

void Events::end_body() {
    items_.emplace_back().kind = Item::Kind::end_of_body;
    ended_ = true;
}

void Events::done(const Timing& timing) {
    end_body();
    std::string data = "{\"status\": " + std::to_string(status_) + ", \"type\": ";
    append_json(data, type_);
    data += ", \"ms\": {";
    for (auto [name, seconds] : {std::pair("\"queue\": ", timing.queue), std::pair(", \"load\": ", timing.load),
                                 std::pair(", \"run\": ", timing.run)}) {
        std::array<char, 32> text;
        data.append(name).append(text.data(), to_milliseconds(seconds, text.data(), text.data() + text.size()));
    }
    event("done", data + "}}");
}

void Events::failed(const Problem& problem) {
    if (ended_) {
        return;
    }
    end_body();
    std::string data = problem_json(problem);
    data.pop_back();  // its newline
    event("error", std::move(data));
}

std::string Events::next() {
    std::string out;
    for (std::size_t taken = 0; taken < slice && !items_.empty();) {
        Item& item = items_.front();
        bool whole = true;
        switch (item.kind) {
            case Item::Kind::event:
                write(out, item.name, item.data);
                break;
            case Item::Kind::said:
                write_said(out, item.said);
                taken += item.said.text.size();
                spent_ += item.said.text.size();
                break;
            case Item::Kind::body: {
                std::string_view part = item.body.bytes.substr(0, slice - taken);
                write_body(out, part);
                taken += part.size();
                spent_ += part.size();
                item.body.bytes.remove_prefix(part.size());
                whole = item.body.bytes.empty();
                break;
            }
            case Item::Kind::file: {
                auto part = read(item.file, slice - taken);
                if (!part) {
                    items_.clear();
                    ended_ = false;
                    failed({500, "cannot-read", "The file of this answer cannot be read any more."});
                    continue;
                }
                write_body(out, *part);
                taken += part->size();
                whole = part->empty();
                break;
            }
            case Item::Kind::end_of_body:
                if (!rest_.empty()) {
                    write_output(out, std::exchange(rest_, {}), false);
                }
                break;
        }
        if (whole) {
            items_.pop_front();
        }
    }
    return out;
}

std::size_t Events::spent() {
    return std::exchange(spent_, 0);
}

void Events::write(std::string& out, std::string_view name, std::string_view data) {
    out.append("id: ").append(std::to_string(++id_)).append("\nevent: ").append(name);
    out.append("\ndata: ").append(data).append("\n\n");
}

void Events::write_said(std::string& out, const Said& said) {
    std::string data = "{\"text\": ";
    append_json(data, said.text);
    data += ", \"stream\": ";
    append_json(data, name_of(said.by));
    if (said.missing > 0) {
        data += ", \"missing\": " + std::to_string(said.missing);
    }
    write(out, "log", data + "}");
}

void Events::write_body(std::string& out, std::string_view bytes) {
    if (bytes.empty()) {
        return;
    }
    if (!text_) {
        write_output(out, bytes, false);
        return;
    }
    std::string joined;
    if (!rest_.empty()) {
        joined = std::exchange(rest_, {}).append(bytes);
        bytes = joined;
    }
    std::size_t left = unfinished(bytes);
    rest_ = bytes.substr(bytes.size() - left);
    bytes.remove_suffix(left);
    if (!bytes.empty()) {
        write_output(out, bytes, is_utf8(bytes));
    }
}

void Events::write_output(std::string& out, std::string_view bytes, bool text) {
    std::string data;
    data.reserve(bytes.size() * 4 / 3 + 32);
    if (text) {
        append_json(data += "{\"text\": ", bytes);
    } else {
        data.append("{\"base64\": \"").append(encode_base64(bytes)).append("\"");
    }
    write(out, "output", data += "}");
}

// Empty at its end; nullopt where it cannot be read.
std::optional<std::string_view> Events::read(const Fd& file, std::size_t most) {
    block_.resize(most);
    ssize_t n = ::pread(file.get(), block_.data(), most, offset_);
    if (n < 0) {
        return std::nullopt;
    }
    offset_ += n;
    return std::string_view(block_.data(), static_cast<std::size_t>(n));
}

}  // namespace owt
