// What a location publishes (owt_file, owt_root, owt_mcp), and which function a request there asks for. All that can
// run is named by the configuration; the request chooses among it by its URI alone. Pure: knows neither nginx nor
// Python.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace owt {

struct Publication {
    enum class Kind : std::uint8_t { file, root, tools };

    Kind kind = Kind::file;
    std::string path;              // of the file or the directory, absolute; tools may have none
    std::string function = "run";  // that is called
    std::string prefix;            // of the location
    bool lazy = false;             // files are loaded when they are first called
    bool runs_code = false;        // tools: the location has `owt` too
};

// What is called: a function of a file, by its absolute path, or one of owt's own, which stand under the id `door`.
struct Aim {
    std::string code_id;
    std::string function;
    std::string name;  // as callers know it; of a file's location it is empty
};

inline constexpr std::string_view door = "door";

// What a function may be called in a URL: parts of letters, digits, '_', '-' and '.', or of what is not ASCII, none of
// which begins with '.' or '_'. So nothing that is hidden, or outside of the directory, has a name.
bool is_published_name(std::string_view name);

// uri is decoded. With `page`, a function's form is asked for, not the function. nullopt: nothing is published there.
std::optional<Aim> aim(const Publication& publication, std::string_view uri, bool page);

// Whether a browser asks that shows what comes to a person.
bool wants_page(std::string_view accept);

}  // namespace owt
