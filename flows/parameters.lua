-- Parameters are what a run is given from outside: on the command line, by the environment
-- (LUAFLOW_PARAM_WHO=me), or by default. Every step reads them as fields of `self`; none can
-- change them. A wrong value is refused before anything runs. See them all with:
--
--     luaflow run flows/parameters.lua --help
--     luaflow run flows/parameters.lua --who=me --no-polite --colours red,green --level high
return {
  doc    = "Shows every kind of parameter.",
  params = {
    -- the type follows from the default …
    who     = { default = "world", help = "whom to greet" },
    ratio   = { default = 0.5, help = "any number" },
    polite  = { default = true, help = "whether to say please" },
    -- … or is said
    copies  = { type = "integer", default = 2, help = "a whole number" },
    level   = { default = "low", choices = { "low", "high" }, help = "one of two words" },
    colours = { default = "red,blue", separator = ",", help = "a list" },
    shape   = { type = "json", default = { sides = 4 }, help = "anything JSON can say" },
    letter  = { type = "file", help = "a file, whose content is stored with the run" },
    -- a function is called once, when the run starts
    host    = { default = function() return os.getenv("HOSTNAME") or "nowhere" end,
                help = "where this is" },
  },
  steps = {
    start = function(self)
      print("who: " .. self.who)
      print("ratio: " .. self.ratio)
      print("polite: " .. tostring(self.polite))
      print("copies: " .. self.copies)
      print("level: " .. self.level)
      print("colours: " .. table.concat(self.colours, " and "))
      print("sides: " .. self.shape.sides)
      print("letter: " .. (self.letter and #self.letter .. " bytes" or "none"))
      print("host: " .. self.host)
    end,
  },
}
