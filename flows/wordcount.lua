-- The most frequent words of a directory of text files, one task per file.
--
-- A word is a run of ASCII letters, in lower case. Counted are the regular files that lie in the
-- directory itself: no links (a link to a file beside it would count that file twice), no
-- sub-directories. So these two say the same:
--
--     luaflow run flows/wordcount.lua --dir TEXTS
--     find TEXTS -maxdepth 1 -type f -exec awk 1 {} + |
--       tr -cs A-Za-z '\n' | tr A-Z a-z | sort | uniq -c | sort -rn | head
--
-- What stands at the top of a flow file runs afresh for every task. Saying the same `ffi.cdef`
-- again is fine.
local ffi = require "ffi"

ffi.cdef [[
  struct dirent { /* Linux with 64-bit offsets: x86-64 and aarch64 */
    uint64_t d_ino;
    int64_t  d_off;
    uint16_t d_reclen;
    uint8_t  d_type;
    char     d_name[256];
  };
  void *opendir(const char *path);
  struct dirent *readdir(void *dir);
  int closedir(void *dir);
  char *strerror(int number);
]]

local UNKNOWN, REGULAR = 0, 8 -- values of d_type

--- The names of the regular files in directory `path`, sorted.
local function list_files(path)
  local dir = ffi.C.opendir(path)
  if dir == nil then
    error(("cannot list %s: %s"):format(path, ffi.string(ffi.C.strerror(ffi.errno()))), 0)
  end
  local files = {}
  local entry = ffi.C.readdir(dir)
  while entry ~= nil do
    if entry.d_type == UNKNOWN then
      error(("cannot tell what is a file in %s: its file system does not say"):format(path), 0)
    elseif entry.d_type == REGULAR then
      files[#files + 1] = ffi.string(entry.d_name)
    end
    entry = ffi.C.readdir(dir)
  end
  ffi.C.closedir(dir)
  table.sort(files)
  return files
end

return {
  doc    = "Counts the words of every text file in a directory.",
  params = {
    dir = { default = "/usr/share/common-licenses", help = "the directory of text files" },
    top = { default = 10, type = "integer", help = "how many words to show" },
  },
  steps = {
    start = { next = "count", foreach = "files", function(self)
      self.files = list_files(self.dir)
    end },

    count = { next = "merge", function(self)
      local file = assert(io.open(self.dir .. "/" .. self.input, "rb"))
      local text = assert(file:read("*a"))
      file:close()
      local counts = {}
      for word in text:gmatch("[A-Za-z]+") do
        word = word:lower()
        counts[word] = (counts[word] or 0) + 1
      end
      self.counts = counts
    end },

    merge = { next = "finish", function(self, inputs)
      local counts = {}
      for _, input in ipairs(inputs) do
        for word, n in pairs(input.counts) do
          counts[word] = (counts[word] or 0) + n
        end
      end
      self.counts = counts
      self.n_files = #inputs
    end },

    finish = function(self)
      local counts, words = self.counts, {}
      for word in pairs(counts) do
        words[#words + 1] = word
      end
      table.sort(words, function(a, b)
        if counts[a] ~= counts[b] then return counts[a] > counts[b] end
        return a < b
      end)
      print(("%d words, %d files"):format(#words, self.n_files))
      for i = 1, math.min(self.top, #words) do
        print(("%7d %s"):format(counts[words[i]], words[i]))
      end
    end,
  },
}
