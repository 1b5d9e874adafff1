-- Health of a TrainingJob (ganger.dev) for Argo CD: resource.customizations.health.ganger.dev_TrainingJob in argocd-cm.
-- docs/observability.md tells how to install it. `obj` is the job; the answer has status and message.
local health = {}
local status = obj.status or {}
local phase = status.phase

if phase == nil then
  health.status = "Progressing"
  health.message = "the operator has not seen this job yet"
  return health
end

-- A change of the spec that is not acted on yet: what the phase says is about the spec before it. An end is final.
local final = phase == "Complete" or phase == "Failed"
local generation = obj.metadata and obj.metadata.generation
if not final and generation ~= nil and status.observedGeneration ~= nil and status.observedGeneration < generation then
  health.status = "Progressing"
  health.message = "the operator has not acted on the newest spec yet"
  return health
end

local known = {
  Pending = "Progressing",
  Starting = "Progressing",
  Restarting = "Progressing",
  Exporting = "Progressing",
  -- A training takes days: whoever waits for it to be applied should not wait for its end.
  Running = "Healthy",
  Complete = "Healthy",
  Suspended = "Suspended",
  Failed = "Degraded",
}
health.status = known[phase] or "Unknown"
health.message = phase
if status.message ~= nil and status.message ~= "" then
  health.message = phase .. ": " .. status.message
end
return health
