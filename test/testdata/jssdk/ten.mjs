// Ten operations by the AWS SDK for JavaScript v3: a group is made, deployed to
// the core that CORE_THING_ARN names, looked at and reset. Prints what it saw as
// JSON.
import {
  GreengrassClient, AssociateRoleToGroupCommand, BadRequestException, CreateCoreDefinitionCommand, CreateDeploymentCommand,
  CreateGroupCommand, CreateGroupVersionCommand, GetDeploymentStatusCommand, GetGroupCommand, ListDeploymentsCommand,
  ListGroupsCommand, ResetDeploymentsCommand,
} from "@aws-sdk/client-greengrass";

const { ENDPOINT, CORE_THING_ARN, CORE_CERTIFICATE_ARN, ROLE_ARN } = process.env;
const client = new GreengrassClient({ endpoint: ENDPOINT });
const call = (command) => client.send(command);

const cores = await call(new CreateCoreDefinitionCommand({
  Name: "js cores", AmznClientToken: "js",
  InitialVersion: { Cores: [{ Id: "core", ThingArn: CORE_THING_ARN, CertificateArn: CORE_CERTIFICATE_ARN, SyncShadow: false }] },
}));
const group = await call(new CreateGroupCommand({ Name: "Grüße/über", tags: { made: "by JavaScript" } }));
const version = await call(new CreateGroupVersionCommand({ GroupId: group.Id, CoreDefinitionVersionArn: cores.LatestVersionArn }));
await call(new AssociateRoleToGroupCommand({ GroupId: group.Id, RoleArn: ROLE_ARN }));

async function until(deployment) {
  for (;;) {
    const status = await call(new GetDeploymentStatusCommand({ GroupId: group.Id, DeploymentId: deployment.DeploymentId }));
    if (status.DeploymentStatus === "Success" || status.DeploymentStatus === "Failure") return status;
    await new Promise((done) => setTimeout(done, 50));
  }
}

const deployed = await until(await call(new CreateDeploymentCommand({
  GroupId: group.Id, GroupVersionId: version.Version, DeploymentType: "NewDeployment",
})));
const read = await call(new GetGroupCommand({ GroupId: group.Id }));
const groups = await call(new ListGroupsCommand({ MaxResults: "10" }));
const deployments = await call(new ListDeploymentsCommand({ GroupId: group.Id }));
const reset = await until(await call(new ResetDeploymentsCommand({ GroupId: group.Id })));

const refusals = [];
for (const command of [
  new GetGroupCommand({ GroupId: "00000000-0000-0000-0000-000000000000" }),
  new AssociateRoleToGroupCommand({ GroupId: group.Id, RoleArn: "no role" }),
]) {
  try {
    await call(command);
  } catch (e) {
    refusals.push({ name: e.name, message: e.message, status: e.$metadata.httpStatusCode, modelled: e instanceof BadRequestException });
  }
}

console.log(JSON.stringify({
  name: read.Name, tags: read.tags, latest: read.LatestVersion === version.Version,
  listed: groups.Groups.some((g) => g.Id === group.Id), deployments: deployments.Deployments.map((d) => d.DeploymentType),
  deployed: deployed.DeploymentStatus, reset: reset.DeploymentStatus, refusals,
}));
