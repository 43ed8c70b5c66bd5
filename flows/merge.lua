-- A join starts empty-handed. `merge_artifacts` hands it all that its inputs agree on.
--
-- Both branches change `x`, so `x` is a conflict: which one is right? The join decides before it
-- merges. An artifact that a branch alone has (`left_only`), or that has the same content in all
-- of them (`common`), is propagated without a word. `notes` differ too, but nobody needs them.
return {
  name  = "MergeArtifactsFlow",
  doc   = "Merges what two branches left behind, deciding the one conflict.",
  steps = {
    start = { next = { "left", "right" }, function(self)
      self.common = { "the", "same", "everywhere" }
      self.x = 0
    end },

    left = { next = "join", function(self)
      self.x = 1
      self.left_only = "from the left"
      self.notes = "draft"
    end },

    right = { next = "join", function(self)
      self.x = 2
      self.notes = "scribble"
    end },

    join = { next = "finish", function(self, inputs)
      self.x = math.max(inputs.left.x, inputs.right.x)
      self:merge_artifacts(inputs, { exclude = { "notes" } })
    end },

    finish = function(self)
      print("x is " .. self.x)
      print("left_only is " .. self.left_only)
      print("common is " .. table.concat(self.common, " "))
      print("notes are " .. (self:has("notes") and "kept" or "gone"))
    end,
  },
}
