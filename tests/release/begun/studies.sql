PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO studies VALUES(1,'begun');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO version_info VALUES(1,12,'5.0.0');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_directions VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_user_attributes VALUES(1,1,'provenance','{"seed": 7, "git_revision": null, "versions": {"python": "3.11.7", "hpo-job": "0.1.0", "optuna": "5.0.0", "fastai": "2.8.12", "torch": "2.15.0", "torchvision": "0.29.2", "timm": "1.0.31", "scikit-learn": "1.9.1", "numpy": "2.4.6"}, "data_fingerprint": null, "data_listing": null, "objective_sha256": "766b86eda6f2ea5e6fc8c05988f3c89befb3c5064c62073d6abf2effe8ce06e0"}');
INSERT INTO study_user_attributes VALUES(2,1,'spec','{"name": "begun", "objective": "objective.py:train", "metric": "loss", "direction": "minimize", "seed": 7, "budget": {"trials": 6, "failures": 3, "retries": 2}, "sampler": {"name": "TPESampler"}, "pruner": {"name": "NopPruner"}, "search_space": {"x": {"type": "float", "low": -5.0, "high": 5.0, "log": false}}, "enqueue": []}');
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO trials VALUES(1,0,1,'COMPLETE','2026-11-28 10:25:27.016559','2026-11-28 10:25:27.476207');
INSERT INTO trials VALUES(2,1,1,'COMPLETE','2026-11-28 10:25:27.769291','2026-11-28 10:25:28.312200');
INSERT INTO trials VALUES(3,2,1,'COMPLETE','2026-11-28 10:25:28.617066','2026-11-28 10:25:29.130877');
INSERT INTO trials VALUES(4,3,1,'RUNNING','2026-11-28 10:25:29.412762',NULL);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_user_attributes VALUES(1,1,'worker','{"host": "vm/d6dd0deb-58a1-4f0a-82b1-8baba8e66f3f/pid:[4026531836]", "pid": 5202}');
INSERT INTO trial_user_attributes VALUES(2,1,'draw','0');
INSERT INTO trial_user_attributes VALUES(3,2,'worker','{"host": "vm/d6dd0deb-58a1-4f0a-82b1-8baba8e66f3f/pid:[4026531836]", "pid": 5202}');
INSERT INTO trial_user_attributes VALUES(4,2,'draw','1');
INSERT INTO trial_user_attributes VALUES(5,3,'worker','{"host": "vm/d6dd0deb-58a1-4f0a-82b1-8baba8e66f3f/pid:[4026531836]", "pid": 5202}');
INSERT INTO trial_user_attributes VALUES(6,3,'draw','2');
INSERT INTO trial_user_attributes VALUES(7,4,'worker','{"host": "vm/d6dd0deb-58a1-4f0a-82b1-8baba8e66f3f/pid:[4026531836]", "pid": 5202}');
INSERT INTO trial_user_attributes VALUES(8,4,'draw','3');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_system_attributes VALUES(1,1,'fixed_params','{}');
INSERT INTO trial_system_attributes VALUES(2,2,'fixed_params','{}');
INSERT INTO trial_system_attributes VALUES(3,3,'fixed_params','{}');
INSERT INTO trial_system_attributes VALUES(4,4,'fixed_params','{}');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_params VALUES(1,1,'x',1.1897290883909183989,'{"name": "FloatDistribution", "attributes": {"step": null, "low": -5.0, "high": 5.0, "log": false}}');
INSERT INTO trial_params VALUES(2,2,'x',-1.6195761946106843609,'{"name": "FloatDistribution", "attributes": {"step": null, "low": -5.0, "high": 5.0, "log": false}}');
INSERT INTO trial_params VALUES(3,3,'x',4.8318478072164001702,'{"name": "FloatDistribution", "attributes": {"step": null, "low": -5.0, "high": 5.0, "log": false}}');
INSERT INTO trial_params VALUES(4,4,'x',3.6391923740359182204,'{"name": "FloatDistribution", "attributes": {"step": null, "low": -5.0, "high": 5.0, "log": false}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_values VALUES(1,1,0,0.035997126981648926158,'FINITE');
INSERT INTO trial_values VALUES(2,2,0,6.8621794393709940607,'FINITE');
INSERT INTO trial_values VALUES(3,3,0,14.683057617669133421,'FINITE');
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_heartbeats VALUES(1,1,'2026-11-28 10:25:26');
INSERT INTO trial_heartbeats VALUES(2,2,'2026-11-28 10:25:27');
INSERT INTO trial_heartbeats VALUES(3,3,'2026-11-28 10:25:28');
INSERT INTO trial_heartbeats VALUES(4,4,'2026-11-28 10:25:29');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('v3.2.0.a');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
