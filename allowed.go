package apikey

// Action names what Options.Authorize is asked about.
type Action string

const (
	ActionIssue          Action = "issue"
	ActionGet            Action = "get" // also Credentials, DailyUsage and Find
	ActionList           Action = "list"
	ActionEvents         Action = "events"
	ActionUpdate         Action = "update"
	ActionDisable        Action = "disable"
	ActionEnable         Action = "enable"
	ActionRegenerate     Action = "regenerate"
	ActionRotate         Action = "rotate"
	ActionFinishRotation Action = "finish_rotation"
	ActionExtendRotation Action = "extend_rotation"
	ActionDelete         Action = "delete"
)
