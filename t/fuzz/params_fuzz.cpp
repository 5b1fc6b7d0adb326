// Any bytes to any reader. The first byte chooses the reader (json, urlencoded, form, base64, locate; published: the
// fields of a query and a JSON or urlencoded body; name: of what is published),
// the rest is its input. What a reader lets through must be sound; for JSON, simdjson's whole-document parser is a
// second opinion.

#include "call/base64.hpp"
#include "call/fields.hpp"
#include "call/intake.hpp"
#include "call/json.hpp"
#include "call/locate.hpp"
#include "call/params.hpp"
#include "call/publication.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <simdjson.h>

using namespace owt;

namespace {

void require(bool sound) {
    if (!sound) {
        std::abort();
    }
}

bool hex64(std::string_view text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_json(std::string_view text) {
    simdjson::dom::parser parser;
    auto error = parser.parse(text.data(), text.size()).error();
    // Numbers beyond a double and half surrogates are JSON all the same.
    return !error || error == simdjson::NUMBER_ERROR || error == simdjson::STRING_ERROR;
}

void check(const Complaint& complaint, const Params& params) {
    if (complaint) {
        require(!complaint->empty() && complaint->size() < 1000 && is_utf8(*complaint));
        require(complaint->find('\0') == std::string::npos);
        return;
    }
    require(hex64(params.code_id));
    if (!params.code.empty()) {
        require(params.code_id == sha256_hex(params.code));
        require(is_utf8(params.code) && params.code.find('\0') == std::string::npos);
        require(params.code.find_first_not_of(" \t\r\n") != std::string::npos);
    }
    require(!params.fn_name.empty() && params.fn_name.size() <= 255 && is_utf8(params.fn_name));
    require(params.fn_name.find('\0') == std::string::npos);
    require(!params.kwargs ||
            (is_utf8(*params.kwargs) && params.kwargs->find_first_not_of(" \t\r\n") != std::string::npos));
    require(!params.cache_key_override || (!params.cache_key_override->empty() && is_utf8(*params.cache_key_override)));
    require(params.fields.size() <= 1000);
    for (size_t i = 0; i < params.fields.size(); ++i) {
        const Field& field = params.fields[i];
        require(is_utf8(field.name) && is_utf8(field.value));
        require(!field.json || (is_json(field.value) && field.value != "null"));
        for (size_t j = 0; j < i; ++j) {
            require(params.fields[j].name != field.name);
        }
    }
}

// Nothing that is sent chooses what runs, or is read as Python.
void check_published(const Complaint& complaint, const Params& params) {
    require(!complaint || (!complaint->empty() && is_utf8(*complaint)));
    require(params.code.empty() && !params.kwargs && !params.use_cache && !params.cache_kwargs &&
            !params.cache_key_override && params.beside.empty());
    require(params.published && params.code_id == "/srv/a.py" && params.fn_name == "speak");
    require(params.fields.size() <= 2000);
}

// Fields end with a byte that stands in no UTF-8.
std::vector<std::pair<std::string, std::string>> cut(std::string_view text) {
    std::vector<std::pair<std::string, std::string>> form;
    while (!text.empty()) {
        std::string_view field = text.substr(0, text.find('\xFF'));
        text.remove_prefix(std::min(field.size() + 1, text.size()));
        size_t name = std::min(field.find('='), field.size());
        form.emplace_back(field.substr(0, name), field.substr(std::min(name + 1, field.size())));
    }
    return form;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    // Exactly as long as the text, so that a step beyond its end is noticed.
    size_t length = size - 1;
    std::unique_ptr<char[]> bytes(new char[length]);
    std::memcpy(bytes.get(), data + 1, length);
    std::string_view text(bytes.get(), length);
    Params params;
    switch (data[0]) {
        case 'j': {
            Complaint complaint = read_json(text, params);
            check(complaint, params);
            size_t mark = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
            bool json = is_json(text.substr(mark));
            require(complaint || json);
            bool blamed = complaint && complaint->starts_with("The body is not valid JSON") &&
                          complaint->find("too deep") == std::string::npos;
            simdjson::dom::parser parser;
            require(!blamed || parser.parse(text.data() + mark, length - mark).error());
            break;
        }
        case 'u': {
            Complaint complaint = read_urlencoded(text, params);
            check(complaint, params);
            require(complaint || names_code(text));
            // No spelling hides from the guard what is read as Python.
            require(complaint || brings_python(text) || (params.code.empty() && !params.kwargs));
            break;
        }
        case 'f':
            check(read_form(cut(text), params), params);
            break;
        case 'b':
            if (auto decoded = decode_base64(text)) {
                require(decoded->size() <= length * 3 / 4);
                // What is decoded does not depend on how its lines are broken.
                std::string broken;
                for (char c : text) {
                    broken += c;
                    broken += '\n';
                }
                require(decode_base64(broken) == decoded);
            }
            break;
        case 'p': {
            std::string_view query = text.substr(0, text.find('\n'));
            text.remove_prefix(std::min(query.size() + 1, text.size()));
            for (Place place : {Place::json, Place::urlencoded, Place::nowhere, Place::multipart}) {
                params = {};
                params.published = true;
                params.code_id = "/srv/a.py";
                params.fn_name = "speak";
                Complaint complaint = place == Place::multipart ? read_fields(cut(text), query, params)
                                                                : read_fields(place, query, text, params);
                check_published(complaint, params);
            }
            break;
        }
        case 'n': {
            Publication root;
            root.kind = Publication::Kind::root;
            root.path = "/srv";
            root.prefix = "/api/";
            auto found = aim(root, text, false);
            if (found && found->code_id != door) {
                require(is_utf8(found->code_id) && found->code_id == "/srv/" + found->name + ".py");
                require(found->code_id.find("/.") == std::string::npos &&
                        found->code_id.find("/_") == std::string::npos);
                require(found->code_id.find("//") == std::string::npos &&
                        found->code_id.find('\0') == std::string::npos);
            }
            break;
        }
        case 'l': {
            std::string_view query = text.substr(0, text.find('\n'));
            text.remove_prefix(std::min(query.size() + 1, text.size()));
            std::string_view type = text.substr(0, text.find('\n'));
            text.remove_prefix(std::min(type.size() + 1, text.size()));
            require((locate(query, type, text) == Place::query) == names_code(query));
            break;
        }
    }
    return 0;
}
