import type { MigrationInterface, QueryRunner } from 'typeorm'

// as typeorm migration:generate has written it

export class CreatePhoto1795277973311 implements MigrationInterface {
  name = 'CreatePhoto1795277973311'

  public async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            CREATE TABLE "photo" (
                "id" SERIAL NOT NULL,
                "picture_file_name" character varying,
                "picture_content_type" character varying,
                "picture_file_size" bigint,
                "picture_updated_at" TIMESTAMP(3),
                "picture_fingerprint" character varying(64),
                "picture_version" character varying(32),
                "picture_processing" boolean NOT NULL DEFAULT false,
                "picture_attempted_at" TIMESTAMP(3),
                "picture_error" text,
                "picture_meta" text,
                CONSTRAINT "PK_723fa50bf70dcfd06fb5a44d4ff" PRIMARY KEY ("id")
            )
        `)
    await queryRunner.query(`
            CREATE INDEX "IDX_2603c3fd8083784c765b21f1e3" ON "photo" ("picture_processing", "picture_attempted_at")
        `)
    await queryRunner.query(`
            CREATE UNIQUE INDEX "IDX_dccbe368a563e9931f81910933" ON "photo" ("picture_version")
        `)
  }

  public async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            DROP INDEX "public"."IDX_dccbe368a563e9931f81910933"
        `)
    await queryRunner.query(`
            DROP INDEX "public"."IDX_2603c3fd8083784c765b21f1e3"
        `)
    await queryRunner.query(`
            DROP TABLE "photo"
        `)
  }
}
