// What becomes of a call, told as it happens: server-sent events (HTML, 9.2), each with an id that counts from 1 and
// data that is JSON on one line.
//
//   start      the answer begins: {"status", "type", "headers"}, as it would have been sent without events
//   output     a part of its body: {"text"}, or {"base64"} of what is not text
//   log        what the call has printed or logged: {"text", "stream"}; "missing" counts bytes left out before it
//   progress   how far it is: {"done", "total", "text"}
//   done       the last one of a call that succeeded: {"status", "type", "ms"}
//   error      the last one of a call that failed: its problem (RFC 9457)
//
// Whoever reads them takes them in slices: no more is made than goes out. Pure: knows neither nginx nor Python.

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "call/call.hpp"

namespace owt {

class Events {
  public:
    // What a slice is made of: about so many bytes.
    static constexpr std::size_t slice = 64 << 10;

    // All that a batch holds, in its order; what its file holds follows, then the progress that was made, if any. What
    // has ended is done, or has failed.
    void put(Batch&& batch, const Timing& timing, const std::optional<std::string>& made = std::nullopt);
    void progress(const std::string& json);
    // The call will say no more. What has been put before is told first.
    void failed(const Problem& problem);

    bool waiting() const { return !items_.empty(); }
    // The last event has been made.
    bool over() const { return ended_ && items_.empty(); }
    std::string next();
    // Bytes of what the call had sent that have been made into events since this was asked last.
    std::size_t spent();

  private:
    struct Item {
        enum class Kind : std::uint8_t { event, said, body, file, end_of_body };

        Kind kind = Kind::event;
        std::string_view name;  // of an event, and its data
        std::string data;
        Said said;
        Piece body;
        Fd file;
    };

    void event(std::string_view name, std::string data);
    void start(const Head& head);
    void done(const Timing& timing);
    void write(std::string& out, std::string_view name, std::string_view data);
    void write_said(std::string& out, const Said& said);
    void write_body(std::string& out, std::string_view bytes);
    void write_output(std::string& out, std::string_view bytes, bool text);
    std::optional<std::string_view> read(const Fd& file, std::size_t most);
    void end_body();

    std::deque<Item> items_;
    std::uint64_t id_ = 0;
    int status_ = 200;
    std::string type_;
    bool text_ = false;  // of the body
    bool ended_ = false;
    std::string rest_;   // of a character whose other bytes have yet to come
    std::string block_;  // of a file,
    off_t offset_ = 0;   // which has been read so far
    std::size_t spent_ = 0;
};

// Whether a body of this Content-Type is text in UTF-8.
bool is_text(std::string_view content_type);

}  // namespace owt
